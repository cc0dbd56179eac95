"""What a run is asked to do, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from precsearch.core.errors import OptionError
from precsearch.core.objective import NO_LIMITS, Limits, Objective
from precsearch.core.precision import Precision
from precsearch.grouping.control import NO_CONTROL, Control

if TYPE_CHECKING:
    from precsearch.plan.plan import Plan
    from precsearch.setup.shapes import ShapeSet

__all__ = [
    "CORRECTIONS",
    "BackendConfig",
    "DataConfig",
    "EngineRow",
    "OptimizeConfig",
    "OptimizeResult",
    "RunConfig",
    "SearchConfig",
]

CORRECTIONS = ("fold-bias", "equalize", "smooth", "dynamic", "ranges", "bias")
"""Corrections of INT8 by name; see docs/corrections.md."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model.

    Attributes:
        model: The ONNX file.
    """

    model: Path


@dataclass(frozen=True)
class DataConfig:
    """What engines are judged by.

    Attributes:
        data: Samples to calibrate and to search with; ``None`` is random data, with a warning.
        tol: Bound on the loss, in the metric's own terms.
        metric: Name of the loss, or ``module:function``.
        batch: Samples of one inference, where the model leaves it open.
        input_shapes: Input name → shape, where the model leaves dimensions open.
        shapes: Several sets of input shapes, in place of `batch` and `input_shapes`; the latency
            that is minimized is the weighted mean over them, accuracy is measured at the first.
        calibration: Other samples to calibrate with.
        calibration_method: ``minmax``, ``percentile``, ``mse`` or ``entropy``.
        holdout: Samples that the search never sees.
        seed: Of every random choice.
        preprocess: Steps that make samples of pictures or sounds, as ``--preprocess`` takes them.
        objective: What is minimized within the bound.
        limits: What an engine must not exceed beside the loss.
        metrics: All metrics of one command, this run's among them: engines are scored by each, so
            that its other runs need not measure them again.
    """

    data: Path | None = None
    tol: float = 1e-2
    metric: str = "rel-l2"
    batch: int = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shapes: tuple[ShapeSet, ...] = ()
    calibration: Path | None = None
    calibration_method: str = "minmax"
    holdout: Path | None = None
    seed: int = 0
    preprocess: str = ""
    objective: Objective = Objective.LATENCY
    limits: Limits = NO_LIMITS
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise OptionError(f"the batch must be at least 1, not {self.batch}")
        if self.shapes and (self.input_shapes or self.batch != 1):
            raise OptionError("--shapes says all about shapes: drop --batch and --input-shape")

    @property
    def weighs_groups(self) -> bool:
        """Whether a search needs to know what the constants of each group take."""
        return self.objective is Objective.SIZE or self.limits.size is not None

    @property
    def other_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that other runs are judged by."""
        return tuple(m for m in self.metrics if m != self.metric)

    @property
    def data_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes that the data is cut to."""
        return self.shapes[0].shapes if self.shapes else self.input_shapes


@dataclass(frozen=True)
class BackendConfig:
    """Which engines.

    Attributes:
        backend: Name of the engine; ``auto`` is TensorRT where there is one and a GPU, else ONNX
            Runtime.
        precisions: What groups may be given; ``None`` is everything that the backend truly runs.
        granularity: ``node``, ``group`` or ``block``.
        threads: CPU threads of one inference; 0 is the number of physical cores.
        build_options: What the backend alone knows, by name.
        corrections: What may be tried to make INT8 more accurate, in this order.
        rewrite: Try rewrites that make FP16 accurate and change nothing in FP32; use what helps.
        lift: Take the author's Q/DQ out of a model that comes quantized: where INT8 is chosen, it
            has the author's scales.
        control: Groups that keep a precision, and the only ones that are searched.
    """

    backend: str = "auto"
    precisions: tuple[Precision, ...] | None = None
    granularity: str = "group"
    threads: int = 0
    build_options: Mapping[str, str] = field(default_factory=dict)
    corrections: tuple[str, ...] = CORRECTIONS
    rewrite: bool = False
    lift: bool = False
    control: Control = NO_CONTROL

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise OptionError(f"the number of threads must not be negative, not {self.threads}")
        odd = sorted(set(self.corrections) - set(CORRECTIONS))
        if odd:
            raise OptionError(
                f"there is no correction {odd[0]!r}; use some of {', '.join(CORRECTIONS)}"
            )


@dataclass(frozen=True)
class SearchConfig:
    """How to search.

    Attributes:
        strategy: Name of the search strategy.
        strategy_options: Options of the strategy by name, as text; recorded in the plan.
        max_builds: Most engines to build and time; those that fail soon are not counted.
        time_budget: Most seconds to search.
        warm_start: Run directories whose measurements are taken over, and plans whose choice is
            tried first.
    """

    strategy: str = "auto"
    strategy_options: Mapping[str, str] = field(default_factory=dict)
    max_builds: int | None = None
    time_budget: float | None = None
    warm_start: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RunConfig:
    """Where a run computes, and where it writes.

    Attributes:
        devices: What engines run on, as text: GPU indices such as ``0,1``, or sets of CPU cores
            such as ``0-3,4-7``; the first is the home device. "" is the one that an engine takes
            by itself.
        ray: Address of a Ray cluster whose devices are used, or ``local`` for a Ray of this
            machine; "" uses none.
        target: Other devices, as the address of an executor such as ``ssh://user@host``; "" is
            this machine.
        workers: Engines that are built and run at a time on each device; they are timed one at a
            time.
        output: The plan; by default ``<model stem>.plan.json`` in the current folder.
        artifact: Where to write the optimized model; ``None`` writes none.
        run_dir: The journal's folder; by default ``a.precsearch`` for a plan ``a.plan.json`` or
            ``a.json``, beside it.
        resume: Go on with the journal in `run_dir`.
        force: Overwrite plan, artifact and journal; never those of another model.
    """

    devices: str = ""
    ray: str = ""
    target: str = ""
    workers: int = 1
    output: Path | None = None
    artifact: Path | None = None
    run_dir: Path | None = None
    resume: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise OptionError(f"the number of workers must be at least 1, not {self.workers}")
        if self.devices and self.ray not in ("", "local"):
            raise OptionError(
                "--devices names devices of this machine, and --ray takes all of a cluster's; drop "
                "one of them"
            )
        if self.target and (self.ray or self.devices):
            raise OptionError(
                "--target is the device of another host; leave out --devices and --ray"
            )
        if self.resume and self.force:
            raise OptionError("a run is either resumed or started afresh: drop --resume or --force")

    @property
    def where(self) -> str:
        """Address of the executor, such as ``ray://local``; "" is this machine."""
        return f"ray://{self.ray}" if self.ray else self.target


@dataclass(frozen=True)
class OptimizeConfig(RunConfig, SearchConfig, BackendConfig, DataConfig, ModelConfig):
    """The options of `precsearch.optimize`; `precsearch optimize --help` explains each.

    It is flat for those who call, and in parts for the code: a function takes the part that it
    needs. All fields have a default except ``model``.
    """

    def __post_init__(self) -> None:
        for part in (DataConfig, BackendConfig, RunConfig):
            part.__post_init__(self)

    @property
    def plan_path(self) -> Path:
        """Where the plan goes."""
        return self.output or Path(f"{self.model.stem}.plan.json")

    @property
    def run_path(self) -> Path:
        """Where the journal goes: beside the plan and named after it."""
        stem = self.plan_path.name.removesuffix(".json").removesuffix(".plan")
        return self.run_dir or self.plan_path.parent / f"{stem or self.model.stem}.precsearch"


@dataclass(frozen=True)
class EngineRow:
    """One engine in a search over several. Speeds are relative to the fastest FP32 engine of all.

    Attributes:
        backend: Its name.
        fp32: Speed of its FP32 engine; ``None`` if that is not within the bound.
        uniform: The lower precision of its fastest uniform engine within the bound, "" for none.
        uniform_speed: Speed of that engine.
        plan: Speed of its plan.
        loss: Of its plan, on the search samples.
        engines: Built and timed.
        together: Whether the speeds are from the same rounds; else they are from different times.
    """

    backend: str
    fp32: float | None
    uniform: str
    uniform_speed: float | None
    plan: float | None
    loss: float | None
    engines: int
    together: bool


@dataclass(frozen=True)
class OptimizeResult:
    """What came of a run.

    Attributes:
        plan: The plan, ``None`` if not even FP32 is within the bound.
        plan_path: Where it was written.
        artifact_path: Where the optimized model was written, if it was asked for.
        met: Whether the plan is within the bound.
        interrupted: Whether it is the best so far of a search that was stopped.
        summary: What a person should know, a sentence each.
        engines: Of a search on several backends, a row for each.
    """

    plan: Plan | None
    plan_path: Path | None
    artifact_path: Path | None
    met: bool
    interrupted: bool
    summary: tuple[str, ...] = ()
    engines: tuple[EngineRow, ...] = ()
