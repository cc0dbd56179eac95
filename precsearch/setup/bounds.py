"""Several tolerances in one command: a run for each, the tightest first, sharing what it measures.

A wider bound knows every engine of the tighter ones when its own search begins, so its plan is
never slower than theirs, within the noise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from precsearch.setup.config import OptimizeConfig
from precsearch.setup.tolerances import Tolerances

__all__ = ["per_tolerance"]


def per_tolerance(config: OptimizeConfig, tolerances: Tolerances) -> tuple[OptimizeConfig, ...]:
    """A configuration for each tolerance, the tightest first.

    With several, plan, artifact and run directory are named after the tolerance
    (``model.tol1e-2.plan.json``), and each run takes over what those before it have measured.
    """
    if len(tolerances.values) == 1:
        return (replace(config, tol=tolerances.values[0]),)
    found: list[OptimizeConfig] = []
    for text, value in zip(tolerances.texts, tolerances.values, strict=True):
        name = f"tol{text}"
        found.append(
            replace(
                config,
                tol=value,
                output=_named(config.plan_path, name),
                artifact=None if config.artifact is None else _named(config.artifact, name),
                run_dir=None if config.run_dir is None else config.run_dir / name,
                warm_start=(*config.warm_start, *(c.run_path for c in found)),
            )
        )
    return tuple(found)


def _named(path: Path, name: str) -> Path:
    """``a.plan.json`` as ``a.NAME.plan.json``, ``b.onnx`` as ``b.NAME.onnx``."""
    ending = ".plan.json" if path.name.endswith(".plan.json") else path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}.{name}{ending}")
