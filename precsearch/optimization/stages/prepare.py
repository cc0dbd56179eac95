"""What a search needs before its first trial: references, ranges, hazards and the FP32 engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from precsearch.core.errors import EngineError, ModelError, ResourceError, WorkerError
from precsearch.core.events import Event, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.client import MeasurementClient, ReferenceClient
from precsearch.executors.connect import reference
from precsearch.executors.protocol import Executor
from precsearch.executors.references import check_comparable, check_holdout, reference_of
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.measurement.service import MeasurementConfig, ReferenceSplit
from precsearch.metrics import code_digest, scale_notes
from precsearch.optimization.explanation.authors_qdq import products_kept, qdq_note
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.optimization.stages.correct import Correcting
from precsearch.optimization.stages.early_builds import EarlyBuilds, built_beside, wanted_early
from precsearch.optimization.stages.rewrite import rewritable
from precsearch.optimization.stages.screen import floats_beside_fp32, screened
from precsearch.plan.evidence import CorrectionEvidence
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target

__all__ = ["Preparation", "Prepared", "baseline_errors", "proxy_of"]

Warn = Callable[[Sequence[str]], Generator[Event, None, None]]


@dataclass(frozen=True)
class Prepared:
    """What is known before the first trial.

    Attributes:
        target: The model; INT8 is taken from groups that cannot have it.
        lowering: With the ranges of the calibration part.
        setup: What the worker measures with.
        worker: Measures; its process is the one that was given.
        proxy: Scores assignments without an engine, if the backend's engines are slow to build.
        priors: Hazards that the search starts from.
        corrections: What was tried to make INT8 more accurate.
    """

    target: Target
    lowering: Lowering
    setup: MeasurementConfig
    worker: MeasurementClient
    proxy: ProxyGraph | None
    priors: tuple[Prior, ...]
    corrections: tuple[CorrectionEvidence, ...] = ()


@dataclass(frozen=True)
class _Looked:
    """`Prepared` before there is a worker that measures."""

    target: Target
    lowering: Lowering
    setup: MeasurementConfig
    proxy: ProxyGraph | None
    priors: tuple[Prior, ...]
    corrections: tuple[CorrectionEvidence, ...]

    def measured_by(self, worker: MeasurementClient) -> Prepared:
        return Prepared(
            self.target,
            self.lowering,
            self.setup,
            worker,
            self.proxy,
            self.priors,
            self.corrections,
        )


@dataclass(frozen=True)
class Preparation:
    """What there is to prepare.

    Attributes:
        config: What the user asked for.
        target: Model and backend.
        inputs: Its data.
        noise: Of latency, if an earlier run measured it; else 0.
        warn: Makes events of what the user should know.
        executor: Starts another worker for a while.
        limit_s: Seconds that a call of that worker may take.
    """

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    noise: float
    warn: Warn
    executor: Executor
    limit_s: float

    def on(self, worker: ReferenceClient) -> Generator[Event, None, Prepared]:
        """Make it ready, and the worker one that measures.

        Where an engine takes long to build, the FP32 one is built meanwhile. Nothing is timed yet.

        Raises:
            ModelError: ONNX Runtime refuses the model, or the FP32 engine fails.
            WorkerError: It crashed or hung on the model.
        """
        facts = self.target.facts
        if not facts.builds_are_expensive and facts.device == "cpu":
            looked = yield from self._looked(worker)
            return looked.measured_by(worker.measuring(looked.setup))
        early = self._early()
        building_worker = worker.measuring(early)
        building_worker.fingerprint()  # a device that is missing is said before anything is done
        if not facts.builds_are_expensive:
            looked = yield from self._looked(building_worker)
            return looked.measured_by(building_worker.measuring(looked.setup))
        with (
            built_beside(building_worker, early.baseline) as builds,
            reference(self.executor, limit_s=self.limit_s) as helper,
        ):
            looked = yield from self._looked(helper, builds)
            if not builds.baseline.done():
                yield StageStarted("build", "the FP32 engine, begun before the reference")
            with baseline_errors():
                builds.baseline.result()
            if builds.begun():
                yield StageStarted("build", "the first engine, begun before INT8's corrections")
            builds.finish()
            with baseline_errors():
                building_worker.adopt(looked.setup)
        return looked.measured_by(building_worker)

    def _early(self) -> MeasurementConfig:
        """What suffices to build engines."""
        target = self.target
        scales = RangeScales({}, target.scheme)
        plain = Lowering(target.graph, target.space, target.scheme, scales, target.form)
        return self._setup(target, plain, ReferenceSplit(self.inputs.parts.search, ()))

    def _setup(
        self, target: Target, lowering: Lowering, searched: ReferenceSplit
    ) -> MeasurementConfig:
        config, inputs = self.config, self.inputs
        plain = lowering.lower(Assignment())
        digest, others = code_digest(inputs.metric), map(code_digest, inputs.also)
        also = tuple(zip(config.other_metrics, others, strict=True))
        return measurement_config(
            config, target, plain, searched, inputs.loads, inputs.shapes, digest, also
        )

    def _looked(
        self, worker: ReferenceClient, builds: EarlyBuilds | None = None
    ) -> Generator[Event, None, _Looked]:
        """Reference outputs of the search part, calibration, and screening where it has a use.

        Screening comes before the corrections, which take longest: it tells the engine to build
        beside them.
        """
        inputs, run_dir = self.inputs, self.config.run_path
        parts, method = inputs.parts, self.config.calibration_method
        yield StageStarted("reference", f"{parts.search.samples} samples")
        beside = inputs.beside(parts.search)
        searched = reference_of(self.target, parts.search, worker, beside)
        yield from self.warn(check_comparable(searched))
        yield from self.warn(scale_notes(inputs.metric, searched.reference))
        if self.config.precisions is None or Precision.INT8 in self.config.precisions:
            note = qdq_note(*products_kept(self.target.graph))
            yield from self.warn((note,) if note else ())
        if parts.holdout is not None:
            check_holdout(self.target, parts.holdout, worker)
        yield StageStarted("calibrate", f"{parts.calibration.samples} samples")
        target, lowering, lost = calibrated(self.target, inputs, method, worker, run_dir)
        yield from self.warn(lost)
        priors = yield from self._screened(target, worker)
        if builds is not None and self._begins_as_usual:
            for assignment in wanted_early(target.space, priors):
                builds.build(candidate(lowering.lower(assignment)))
        corrected = yield from Correcting(
            self.config, target, lowering, inputs, searched, worker
        ).events()
        target, lowering = corrected.target, corrected.lowering
        proxy = proxy_of(target, lowering)
        setup = replace(
            self._setup(target, lowering, searched),
            proxy=None if proxy is None else proxy.proxy,
            noise=self.noise,
        )
        tried = corrected.corrections.evidence
        return _Looked(target, lowering, setup, proxy, priors, tried)

    def _screened(
        self, target: Target, worker: ReferenceClient
    ) -> Generator[Event, None, tuple[Prior, ...]]:
        """Hazards of the data, where groups may be computed in coarser floats than FP32."""
        floats = floats_beside_fp32(target)
        if not floats:
            return ()
        names = " or ".join(p.value.upper() for p in floats)
        yield StageStarted("screen", f"values that {names} would get wrong")
        priors, warnings = screened(target, self.inputs, worker, self.config.run_path)
        fp16 = Precision.FP16 in floats  # what rewrites are there for
        helpful = () if self.config.rewrite or not fp16 else rewritable(target, priors)
        yield from self.warn((*warnings, *helpful))
        return priors

    @property
    def _begins_as_usual(self) -> bool:
        """Whether the search will first ask for what `wanted_early` names.

        Not with another strategy, nor where an earlier run has measured engines already.
        """
        config = self.config
        return config.strategy == "auto" and not config.warm_start and not self.noise


@contextmanager
def baseline_errors() -> Iterator[None]:
    """What ends a later trial ends the run here: there is nothing to compare with."""
    try:
        yield
    except ResourceError:  # the machine's fault, not the model's
        raise
    except (EngineError, WorkerError) as error:
        raise ModelError(f"the model's own FP32 engine fails on this backend: {error}") from error


def proxy_of(target: Target, lowering: Lowering) -> ProxyGraph | None:
    """The proxy that stands in for the target's engines, ``None`` where these are as cheap.

    A backend whose builds are cheap opens its own engine in 5 to 100 ms (docs/benchmarks/proxy.md)
    and runs INT8 in integers, faster than a proxy that emulates it: there, a proxy is an engine
    that is not timed.

    Raises:
        ModelError: A weight is not finite, or the proxy is too large.
    """
    if not target.facts.builds_are_expensive or len(target.space.precisions) == 1:
        return None
    return ProxyGraph(lowering.context)
