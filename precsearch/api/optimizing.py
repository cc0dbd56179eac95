"""`optimize`: a search from Python, with what is in memory written where its processes find it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from precsearch.api.functions import metric_name
from precsearch.api.given import Data, Model, data_file, model_file, model_name
from precsearch.api.notebook import Bar, in_notebook
from precsearch.api.options import FilePath, control_of, precisions_of
from precsearch.api.result import Result
from precsearch.api.tracking import tracked
from precsearch.core.errors import OptionError, UnmetError
from precsearch.core.events import Event
from precsearch.core.objective import Limits, Objective
from precsearch.core.precision import Precision
from precsearch.metrics import per_output_name
from precsearch.optimization.start import optimize_events
from precsearch.setup.config import CORRECTIONS, OptimizeConfig, OptimizeResult
from precsearch.setup.shapes import ShapeSet

__all__ = ["optimize"]


def optimize(
    model: Model,
    data: Data | None = None,
    *,
    tol: float | Mapping[str, float] = 1e-2,
    metric: str | Callable[..., object] = "rel-l2",
    metrics: Sequence[str | Callable[..., object]] = (),
    holdout: Data | None = None,
    calibration: Data | None = None,
    calibration_method: str = "minmax",
    columns: Mapping[str, str] | None = None,
    samples: int = 1024,
    preprocess: str = "",
    pin: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
    backend: str = "auto",
    precisions: Sequence[str | Precision] | None = None,
    granularity: str = "group",
    strategy: str = "auto",
    strategy_options: Mapping[str, str] | None = None,
    warm_start: Sequence[FilePath] = (),
    max_builds: int | None = None,
    time_budget: float | timedelta | None = None,
    seed: int = 0,
    objective: str | Objective = Objective.LATENCY,
    max_latency: float | timedelta | None = None,
    max_size: int | None = None,
    max_memory: int | None = None,
    threads: int = 0,
    workers: int = 1,
    devices: str = "",
    batch: int = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    shapes: Sequence[ShapeSet] = (),
    build_options: Mapping[str, str] | None = None,
    corrections: Sequence[str] = CORRECTIONS,
    rewrite: bool = False,
    lift: bool = False,
    output: FilePath | None = None,
    artifact: FilePath | None = None,
    run_dir: FilePath | None = None,
    resume: bool = False,
    force: bool = False,
    mlflow: bool = False,
    on_event: Callable[[Event], object] | None = None,
    progress: bool | None = None,
) -> Result:
    """Find the fastest measured engine within a tolerance, and write its plan.

    Args:
        model: The path of an ONNX model, an ``onnx.ModelProto`` or an ``onnx_ir.Model``.
        data: Samples to calibrate and to search with: a path as on the command line; arrays with
            the samples along axis 0, as a dictionary by input, as a tuple in the order of the
            inputs (with labels as one more), or alone for one input; or an iterable of feeds, such
            as a DataLoader or a data set of Hugging Face, whose rows need no batch axis. ``None``
            is random numbers, with a warning.
        tol: Bound on the loss, in the metric's own terms; or output → bound, with ``*`` for all
            outputs that are not named.
        metric: The name of a metric, ``file.py:function``, or a function of (outputs, reference) or
            (outputs, reference, labels); docs/metrics.md has the contract.
        metrics: All metrics of several searches, ``metric`` among them: engines are scored by each,
            so that a search by another one can start from this run (``warm_start``). INT8 is
            corrected by the first. `optimize_each` does all of it.
        holdout: Samples that the search never sees; by default a quarter of ``data``.
        calibration: Other samples to calibrate INT8 with.
        calibration_method: ``minmax``, ``percentile`` or ``mse``.
        columns: Column of the data → input of the model, or ``labels``; others are left out.
        samples: Most samples to take of an iterable.
        preprocess: How a folder of pictures or sounds becomes samples (docs/data.md).
        pin: Pattern → the least precise that the groups which match may run in, such as
            ``{"op:Gemm": "fp32"}``; docs/control.md has the patterns.
        exclude: Patterns of groups that stay in FP32.
        only: Patterns of the only groups that are searched.
        backend: ``auto``, ``onnxruntime``, ``tensorrt``, or that of a plug-in.
        precisions: What groups may be given; ``None`` is all that the backend truly runs.
        granularity: What is decided together: ``node``, ``group`` or ``block``.
        strategy: ``auto``, ``bisection``, ``tpe``, ``uniform``, or that of a plug-in.
        strategy_options: What the strategy alone knows, by name.
        warm_start: Run directories of earlier searches, to start from what they measured.
        max_builds: Most engines to build and time.
        time_budget: Longest time to search, in seconds or as a `timedelta`.
        seed: Of every random choice.
        objective: What is minimized: ``latency`` (the median), ``mean``, ``p95``, ``p99`` of the
            latency, or ``size``.
        max_latency: Most seconds of one inference, by the number that ``objective`` names.
        max_size: Most bytes of what is shipped.
        max_memory: Most bytes of host memory that a new process takes to open the engine and to
            run it.
        threads: CPU threads of one inference; 0 is the number of physical cores.
        workers: Engines that are built and run at a time; they are timed one at a time.
        devices: What engines run on, such as ``0,1`` for GPUs or ``0-3,4-7`` for cores of a CPU; ""
            is what the engine takes by itself.
        batch: Samples of one inference, where the model leaves it open; also what is timed.
        input_shapes: Input → shape, where the model leaves dimensions open.
        shapes: Several sets of input shapes, in place of ``batch`` and ``input_shapes``.
        build_options: What the backend alone knows, by name.
        corrections: What may be tried to make INT8 more accurate, by name; see
            docs/corrections.md.
        rewrite: Try rewrites that make FP16 accurate and change nothing in FP32; use what helps.
        lift: Take the author's Q/DQ out of a model that comes quantized: where INT8 is chosen, it
            has the author's scales.
        output: The plan; by default the model's name with ``.plan.json``, here.
        artifact: Where to write the optimized model; ``None`` writes none.
        run_dir: The journal's folder; by default the plan's name with ``.precsearch``, beside it.
        resume: Go on with the run in ``run_dir``.
        force: Overwrite plan, artifact and journal; never those of another model.
        mlflow: Log the run with MLflow (docs/use.md).
        on_event: Called with every event as it happens (`precsearch.core.events`); what it raises
            ends the search.
        progress: Whether to show a bar; by default in notebooks.

    Returns:
        The plan, which is also on disk, with the trials and the optimized model.

    Raises:
        InputError: Something that was given is wrong; the message says what to change.
        UnmetError: Not even the FP32 engine is within the tolerance, or no engine within it is
            within the limits.
        KeyboardInterrupt: The search was interrupted; the best plan so far is on disk.
    """
    config = OptimizeConfig(
        model=Path(f"{model_name(model)}.onnx"),
        tol=1.0 if isinstance(tol, Mapping) else tol,
        backend=backend,
        precisions=precisions_of(precisions),
        strategy=strategy,
        strategy_options=dict(strategy_options or {}),
        warm_start=tuple(map(Path, warm_start)),
        devices=devices,
        corrections=tuple(corrections),
        max_builds=max_builds,
        time_budget=_seconds(time_budget),
        seed=seed,
        objective=Objective.named(str(getattr(objective, "value", objective))),
        limits=Limits(_seconds(max_latency), max_size, max_memory),
        preprocess=preprocess,
        threads=threads,
        workers=workers,
        batch=batch,
        input_shapes=dict(input_shapes or {}),
        shapes=tuple(shapes),
        calibration_method=calibration_method,
        granularity=granularity,
        output=None if output is None else Path(output),
        artifact=None if artifact is None else Path(artifact),
        run_dir=None if run_dir is None else Path(run_dir),
        resume=resume,
        force=force,
        build_options=dict(build_options or {}),
        rewrite=rewrite,
        lift=lift,
        control=control_of(pin, exclude, only),
    )
    folder = config.run_path
    path = model_file(model, folder)

    def placed(given: Data | None) -> Path | None:
        return data_file(given, path, folder, columns=columns, samples=samples)

    judge = metric_name(metric, folder)
    named = tuple(metric_name(m, folder) for m in metrics)
    if named and judge not in named:
        raise OptionError("metrics names all metrics of several searches, this search's own, too")
    config = replace(
        config,
        model=path,
        output=config.plan_path,
        data=placed(data),
        holdout=placed(holdout),
        calibration=placed(calibration),
        metric=_bounded(judge, tol),
        metrics=tuple(_bounded(m, tol) if m == judge else m for m in named),
    )
    watch: list[Callable[[Event], object]] = [] if on_event is None else [on_event]
    if progress or (progress is None and in_notebook()):
        watch.append(Bar(config.max_builds, config.time_budget))
    events = optimize_events(config)
    return _result(config, _followed(tracked(config, events) if mlflow else events, watch))


def _seconds(given: float | timedelta | None) -> float | None:
    return given.total_seconds() if isinstance(given, timedelta) else given


def _bounded(metric: str, tol: float | Mapping[str, float]) -> str:
    return per_output_name(metric, tol) if isinstance(tol, Mapping) else metric


def _followed(
    events: Generator[Event, None, OptimizeResult], watch: Sequence[Callable[[Event], object]]
) -> OptimizeResult:
    """Run to the end; an interrupt that meets a watcher is the search's."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            event = next(events) if interrupt is None else events.throw(interrupt)
        except StopIteration as end:
            result: OptimizeResult = end.value
            return result
        interrupt = None
        try:
            for take in watch:
                take(event)
        except KeyboardInterrupt as error:
            interrupt = error
        except BaseException:
            events.close()
            raise


def _result(config: OptimizeConfig, result: OptimizeResult) -> Result:
    if result.interrupted:
        raise KeyboardInterrupt
    if result.plan is None or result.plan_path is None:
        raise UnmetError(" ".join(result.summary))
    return Result(
        plan=result.plan,
        plan_path=result.plan_path,
        run_path=config.run_path,
        model_path=config.model,
        artifact_path=result.artifact_path,
        summary=result.summary,
        metric=config.metric,
    )
