"""`optimize`, `build`, `verify`, `export`, `inspect`: the composition root."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

from precsearch.core.errors import PrecsearchError
from precsearch.core.events import Event
from precsearch.exporters.export import ExportReport, export
from precsearch.optimization.counted import Counted
from precsearch.optimization.estimate import DryRun, dry_run
from precsearch.optimization.inspection import Inspection, inspect
from precsearch.optimization.run import optimize_events
from precsearch.plan.plan import Plan
from precsearch.replay.materialize import BuildReport, build
from precsearch.replay.verify import VerifyReport, verify
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.shapes import ShapeSet

__all__ = [
    "BuildReport",
    "Counted",
    "DryRun",
    "ExportReport",
    "Inspection",
    "OptimizeConfig",
    "OptimizeResult",
    "ShapeSet",
    "VerifyReport",
    "build",
    "dry_run",
    "export",
    "inspect",
    "optimize",
    "optimize_events",
    "verify",
]

_PATHS = ("model", "data", "calibration", "holdout", "output", "artifact", "run_dir")


def optimize(model: str | Path, **options: Any) -> Plan:  # noqa: ANN401 - see OptimizeConfig
    """Find the fastest measured engine within a tolerance, and write its plan.

    Args:
        model: The ONNX file.
        **options: The other fields of `OptimizeConfig`; paths may be strings.

    Returns:
        The plan, which is also on disk.

    Raises:
        TypeError: There is no such option.
        InputError: Something that was given is wrong; the message says what to change.
        PrecsearchError: Not even the FP32 engine is within the tolerance.
        KeyboardInterrupt: The search was interrupted; the best plan so far is on disk.
    """
    given = {"model": model, **options}
    if "cure" in given:
        warnings.warn("the option cure is now rewrite", DeprecationWarning, stacklevel=2)
        given.setdefault("rewrite", given.pop("cure"))
    for name in _PATHS:
        if isinstance(given.get(name), str):
            given[name] = Path(given[name])
    result = _drained(optimize_events(OptimizeConfig(**given)))
    if result.interrupted:
        raise KeyboardInterrupt
    if result.plan is None:
        raise PrecsearchError(" ".join(result.summary))
    return result.plan


def _drained(events: Generator[Event, None, OptimizeResult]) -> OptimizeResult:
    """Run to the end; nobody looks at the events."""
    result: list[OptimizeResult] = []

    def returned() -> Generator[Event, None, None]:
        result.append((yield from events))

    deque(returned(), maxlen=0)
    return result[0]
