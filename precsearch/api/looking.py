"""`inspect`, `diagnose` and `save_report` from Python, of models and data that may be in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

from precsearch.api.given import Data, Model, data_file, model_file
from precsearch.api.optimizing import FilePath, control_of, precisions_of
from precsearch.api.result import Result
from precsearch.core.precision import Precision
from precsearch.diagnosis import compare
from precsearch.diagnosis.result import Diagnosis
from precsearch.grouping.control import Control
from precsearch.optimization.preview import inspection
from precsearch.optimization.preview.inspection import Inspection
from precsearch.report import compare as compare_plans
from precsearch.report import difference_page, is_run, members, run_page, runs_page, tell
from precsearch.search.journal import NAME
from precsearch.setup.files import check_free, write_output

__all__ = ["diagnose", "inspect", "save_report"]

_TWO = 2


def inspect(
    model: Model,
    data: Data | None = None,
    *,
    backend: str = "auto",
    precisions: Sequence[str | Precision] | None = None,
    granularity: str = "group",
    columns: Mapping[str, str] | None = None,
    samples: int = 64,
    preprocess: str = "",
    run: FilePath | None = None,
    profile: bool = False,
    threads: int = 0,
    pin: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    control: Control | None = None,
) -> Inspection:
    """A model's layer groups and their choices; with data, also what FP16 would get wrong.

    Args:
        model: As for `precsearch.optimize`.
        data: Samples, as `optimize` takes them: hazards are searched in them, and engines timed.
        backend: Name of the engine.
        precisions: What groups may be given; ``None`` is all that the backend truly runs.
        granularity: ``node``, ``group`` or ``block``.
        columns: Column of the data → input of the model.
        samples: Most samples to take of an iterable.
        preprocess: As for `precsearch.optimize`.
        run: The run directory or journal of an earlier `precsearch.optimize` of this model, to take
            the FP32 time from.
        profile: Time the FP32 engine now, for some seconds.
        threads: CPU threads of one inference that is timed; 0 is the number of physical cores.
        pin: As for `precsearch.optimize`: what a search would be left with.
        exclude: Patterns of groups that stay in FP32, as in `optimize`.
        only: Patterns of the groups that may be lowered, as in `optimize`.
        control: The same as ``pin``, ``exclude`` and ``only`` in one.

    Raises:
        InputError: The model or the data cannot be read, or an option is wrong.
        WorkerError: ONNX Runtime crashed or hung on the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(model, Path(folder))
        given = data_file(data, path, Path(folder), columns=columns, samples=samples)
        return inspection.inspect(
            path,
            backend=backend,
            precisions=precisions_of(precisions),
            granularity=granularity,
            data=given,
            run=None if run is None else Path(run),
            profile=profile,
            threads=threads,
            control=control or control_of(pin, exclude, only),
            preprocess=preprocess,
        )


def diagnose(
    model: Model,
    data: Data | None = None,
    *,
    precision: str | Precision = Precision.FP16,
    plan: FilePath | None = None,
    backend: str = "auto",
    granularity: str = "group",
    batch: int = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    columns: Mapping[str, str] | None = None,
    samples: int = 64,
    preprocess: str = "",
    memory_mb: int = compare.BUDGET_MB,
    suggest: bool = False,
) -> Diagnosis:
    """Every tensor of a model in a precision beside FP32's, and where the difference begins.

    Args:
        model: As for `precsearch.optimize`.
        data: Samples, as `optimize` takes them; the first 64 are used. ``None`` is random numbers.
        precision: Everything that can, in this precision; not with ``plan``.
        plan: A plan's assignment and scales.
        backend: Name of the engine whose rules are followed.
        granularity: ``node``, ``group`` or ``block``.
        batch: Samples of one feed.
        input_shapes: Input → shape, where random numbers are made.
        columns: Column of the data → input of the model.
        samples: Most samples to take of an iterable.
        preprocess: As for `precsearch.optimize`.
        memory_mb: For tensors under comparison, in MB.
        suggest: Whether to look for rewrites that make FP16 accurate.

    Raises:
        InputError: The model, data or plan cannot be read, or an option is wrong.
        ReplayError: The plan is another model's.
        RunError: The model fails on the data.
    """
    (asked,) = precisions_of([precision]) or (Precision.FP16,)
    with tempfile.TemporaryDirectory() as folder:
        path = model_file(model, Path(folder))
        config = compare.DiagnoseConfig(
            model=path,
            data=data_file(data, path, Path(folder), columns=columns, samples=samples),
            precision=asked,
            plan=None if plan is None else Path(plan),
            backend=backend,
            granularity=granularity,
            batch=batch,
            input_shapes=dict(input_shapes or {}),
            memory_mb=memory_mb,
            suggest=suggest,
            preprocess=preprocess,
        )
        return compare.diagnose(config)


def save_report(
    run: FilePath | Result,
    output: FilePath,
    *,
    other: FilePath | Result | Sequence[FilePath | Result] | None = None,
    force: bool = False,
) -> Path:
    """Write the page about a run, or the page on several beside each other.

    Args:
        run: A result, a run directory, a journal or a plan.
        output: The page.
        other: What ``run`` is compared with: one or more of the same. Two results or plans make
            the page on how they differ, anything else the page on all of them, at most 8.
        force: Replace what is there.

    Returns:
        Where the page is.

    Raises:
        InputError: What to report on cannot be read, or the page not be written.
    """
    if other is not None:
        others = [other] if isinstance(other, str | PathLike | Result) else list(other)
        return _several([run, *others], Path(output), force)
    if isinstance(run, Result):
        return run.save_report(output, force=force)
    target = Path(output)
    check_free([target], force=force, inputs=[Path(run)])
    write_output(target, run_page(tell([Path(run)])), force=force)
    return target


def _several(runs: Sequence[FilePath | Result], target: Path, force: bool) -> Path:
    plans = [r.plan_path if isinstance(r, Result) else Path(r) for r in runs]
    paths = [r.run_path if isinstance(r, Result) else Path(r) for r in runs]
    check_free([target], force=force, inputs=[p / NAME if p.is_dir() else p for p in paths])
    if len(plans) == _TWO and not any(map(is_run, plans)):
        page = difference_page(compare_plans(*plans))
    else:
        page = runs_page(members(paths))
    write_output(target, page, force=force)
    return target
