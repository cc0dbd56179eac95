"""Several tolerances in one command: a run for each, the tightest first, sharing what it measures.

A wider bound knows every engine of the tighter ones when its own search begins, so its plan is
never slower than theirs, within the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.errors import OptionError
from precsearch.setup.config import OptimizeConfig

__all__ = ["Tolerances", "per_tolerance"]


@dataclass(frozen=True)
class Tolerances:
    """Tolerances as they were typed, and their values.

    Attributes:
        texts: For file names.
        values: In the same order.
    """

    texts: tuple[str, ...]
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Tolerances:
        """``1e-2`` or ``5e-3,1e-2,3e-2``.

        Raises:
            OptionError: One is no number, or is named twice.
        """
        texts = [part.strip() for part in str(text).split(",")]
        values = [_number(part) for part in texts]
        if len(set(values)) < len(values):
            raise OptionError(f"--tol names a tolerance twice: {text!r}")
        order = sorted(range(len(values)), key=values.__getitem__)
        return cls(tuple(texts[i] for i in order), tuple(values[i] for i in order))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(
            f"--tol takes a number such as 1e-2, or several separated by commas, not {text!r}"
        )
    return value


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
