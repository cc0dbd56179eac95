"""`optimize_each`: searches for several metrics and bounds, which share what they measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from precsearch.api.functions import metric_name
from precsearch.api.given import Data, Model, data_file, model_file, model_name
from precsearch.api.optimizing import optimize
from precsearch.api.options import FilePath
from precsearch.api.result import Result
from precsearch.core.errors import OptionError, UnmetError
from precsearch.setup.bounds import per_bound
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.tolerances import Tolerances

__all__ = ["optimize_each"]

Metric = str | Callable[..., object]
_OURS = ("metric", "metrics", "tol")


def optimize_each(
    model: Model,
    data: Data | None = None,
    *,
    holdout: Data | None = None,
    calibration: Data | None = None,
    columns: Mapping[str, str] | None = None,
    samples: int = 1024,
    bounds: Mapping[Metric, float | Sequence[float]],
    output: FilePath | None = None,
    artifact: FilePath | None = None,
    run_dir: FilePath | None = None,
    warm_start: Sequence[FilePath] = (),
    **options: Any,  # noqa: ANN401 - handed on to `optimize`, whose types are its own
) -> dict[tuple[str, float], Result]:
    """Find the fastest engine within each of several bounds, and write a plan for each.

    The tightest bound of a metric comes first, and each search starts from what those before it
    measured, by all metrics. Plans and run directories are named as by several ``--tol`` and
    ``--metric`` (docs/several-bounds.md).

    Args:
        model: As for `optimize`.
        data: As for `optimize`.
        holdout: As for `optimize`.
        calibration: As for `optimize`.
        columns: As for `optimize`.
        samples: As for `optimize`.
        bounds: Metric → one bound on its loss, or several, in the metric's own terms.
        output: As for `optimize`; metric and bound are added to its name.
        artifact: As for `optimize`; the same holds.
        run_dir: Of all runs; each has a folder in it.
        warm_start: As for `optimize`, of the first search.
        options: All else that `optimize` takes, but for ``metric``, ``metrics`` and ``tol``.

    Returns:
        The result by the metric's name and the bound, in the order of the searches. A bound that
        no engine meets has none.

    Raises:
        InputError: Something that was given is wrong; the message says what to change.
        UnmetError: No bound at all is met.
        KeyboardInterrupt: A search was interrupted; its best plan so far is on disk.
    """
    if not bounds or not options.keys().isdisjoint(_OURS):
        raise OptionError(
            "optimize_each takes metrics and bounds together, as bounds={metric: tol}"
        )
    base = OptimizeConfig(
        model=Path(f"{model_name(model)}.onnx"),
        output=None if output is None else Path(output),
        artifact=None if artifact is None else Path(artifact),
        run_dir=None if run_dir is None else Path(run_dir),
        warm_start=tuple(map(Path, warm_start)),
    )
    folder = base.run_path
    path = model_file(model, folder)

    def placed(given: Data | None) -> Path | None:  # once: an iterable may end after one pass
        return data_file(given, path, folder, columns=columns, samples=samples)

    options |= {"data": placed(data), "holdout": placed(holdout)}
    options["calibration"] = placed(calibration)
    named = [(metric_name(m, folder), _tolerances(t)) for m, t in bounds.items()]
    ends = {(c.metric, c.tol): _ended(path, c, options) for c in per_bound(base, named)}
    found = {key: end for key, end in ends.items() if isinstance(end, Result)}
    if not found:
        raise next(end for end in ends.values() if isinstance(end, UnmetError))
    return found


def _ended(model: Path, config: OptimizeConfig, options: Mapping[str, Any]) -> Result | UnmetError:
    """One search: its result, or that no engine meets its bound."""
    try:
        return optimize(
            model,
            metric=config.metric,
            metrics=config.metrics,
            tol=config.tol,
            output=config.plan_path,
            artifact=config.artifact,
            run_dir=config.run_path,
            warm_start=config.warm_start,
            **options,
        )
    except UnmetError as error:
        return error


def _tolerances(given: float | Sequence[float]) -> Tolerances:
    values = given if isinstance(given, Sequence) else [given]
    return Tolerances.parse(",".join(repr(float(value)) for value in values))
