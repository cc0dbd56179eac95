"""Several bounds in one command: a run for each, sharing what it measures.

The tightest tolerance of a metric comes first: a wider bound knows every engine of the tighter ones
when its own search begins, so its plan is never slower than theirs, within the noise. Engines are
scored by all metrics, so that a metric's runs know the engines of the metrics before it, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from precsearch.core.errors import OptionError
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.tolerances import Tolerances

__all__ = ["per_bound"]


def per_bound(
    config: OptimizeConfig, bounds: Sequence[tuple[str, Tolerances]]
) -> tuple[OptimizeConfig, ...]:
    """A configuration for each metric and tolerance, in the order of the metrics.

    With several, plan, artifact and run directory are named after the tolerance
    (``model.tol1e-2.plan.json``), and after the metric if there are several of them, too
    (``model.rel-l2.tol1e-2.plan.json``). Each run takes over what those before it have measured.

    Raises:
        OptionError: A metric is named twice.
    """
    metrics = tuple(name for name, _ in bounds)
    if len(set(map(_plain, metrics))) < len(metrics):
        raise OptionError(
            f"--metric names a metric twice ({', '.join(metrics)}); give all of its bounds to one "
            "--tol, separated by commas"
        )
    single = len(bounds) == 1 and len(bounds[0][1].values) == 1
    configs: list[OptimizeConfig] = []
    for metric, tolerances in bounds:
        for text, value in zip(tolerances.texts, tolerances.values, strict=True):
            one = replace(config, tol=value, metric=metric)
            if not single:
                name = f"{_plain(metric)}.tol{text}" if len(metrics) > 1 else f"tol{text}"
                one = _apart(one, name, [c.run_path for c in configs])
            configs.append(replace(one, metrics=metrics if len(metrics) > 1 else ()))
    return tuple(configs)


def _apart(config: OptimizeConfig, name: str, before: Sequence[Path]) -> OptimizeConfig:
    """A run with a name of its own, that takes over others."""
    return replace(
        config,
        output=_named(config.plan_path, name),
        artifact=None if config.artifact is None else _named(config.artifact, name),
        run_dir=None if config.run_dir is None else config.run_dir / name,
        warm_start=(*config.warm_start, *before),
    )


def _plain(metric: str) -> str:
    """A metric's name as part of a file's: of a user's own, the function's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", metric.rpartition(":")[2]).strip("-.") or "metric"


def _named(path: Path, name: str) -> Path:
    """``a.plan.json`` as ``a.NAME.plan.json``, ``b.onnx`` as ``b.NAME.onnx``."""
    ending = ".plan.json" if path.name.endswith(".plan.json") else path.suffix
    return path.with_name(f"{path.name.removesuffix(ending)}.{name}{ending}")
