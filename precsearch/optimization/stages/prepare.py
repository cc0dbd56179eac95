"""What a search needs before its first trial: references, ranges, hazards and the FP32 engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from precsearch.core.backend import CPU_USE, DeclaresUse
from precsearch.core.errors import EngineError, ModelError, ResourceError, WorkerError
from precsearch.core.events import Event, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.executors.client import bench_setup
from precsearch.executors.local import turns_of
from precsearch.executors.process import Worker
from precsearch.executors.process.open import bench_worker
from precsearch.executors.references import check_comparable, check_holdout, reference_of
from precsearch.lowering.lower import Lowering
from precsearch.lowering.scales import RangeScales
from precsearch.measurement.service import BenchSetup, Scored
from precsearch.metrics import code_digest
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.optimization.stages.rewrite import rewritable
from precsearch.optimization.stages.screen import screened
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target

__all__ = ["Preparation", "Prepared", "baseline_errors", "built_beside", "proxy_of"]

Warn = Callable[[Sequence[str]], Generator[Event, None, None]]


@dataclass(frozen=True)
class Prepared:
    """What is known before the first trial.

    Attributes:
        target: The model; INT8 is taken from groups that cannot have it.
        lowering: With the ranges of the calibration part.
        setup: What the worker's bench goes on with.
        proxy: Scores assignments without an engine, if the backend's engines are slow to build.
        priors: Hazards that the search starts from.
    """

    target: Target
    lowering: Lowering
    setup: BenchSetup
    proxy: ProxyGraph | None
    priors: tuple[Prior, ...]


@dataclass(frozen=True)
class Preparation:
    """What there is to prepare.

    Attributes:
        config: What the user asked for.
        target: Model and backend.
        inputs: Its data.
        noise: Of latency, if an earlier run measured it; else 0.
        warn: Makes events of what the user should know.
        limit_s: Seconds that a call of another worker may take.
    """

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    noise: float
    warn: Warn
    limit_s: float

    def on(self, worker: Worker) -> Generator[Event, None, Prepared]:
        """Make it ready, and the worker a bench.

        Where an engine takes long to build, the FP32 one is built meanwhile. Nothing is timed yet.

        Raises:
            ModelError: ONNX Runtime refuses the model, or the FP32 engine fails.
            WorkerError: It crashed or hung on the model.
        """
        if not self.target.backend.compiles:
            found = yield from self._looked(worker)
            worker.restart_with(found.setup)
            return found
        early = self._early()
        worker.restart_with(early)
        with built_beside(worker, early) as building, bench_worker(self.limit_s) as helper:
            found = yield from self._looked(helper)
            if not building.done():
                yield StageStarted("build", "the FP32 engine, begun before the reference")
            with baseline_errors():
                building.result()
                worker.call("adopt", found.setup)
        worker.remember(found.setup)
        return found

    def _early(self) -> BenchSetup:
        """What suffices to build engines."""
        target = self.target
        scales = RangeScales({}, target.scheme)
        plain = Lowering(target.graph, target.space, target.scheme, scales, target.form)
        return self._setup(target, plain, Scored(self.inputs.parts.search, ()))

    def _setup(self, target: Target, lowering: Lowering, searched: Scored) -> BenchSetup:
        config, inputs = self.config, self.inputs
        plain = lowering.lower(Assignment())
        setup = bench_setup(
            config,
            target,
            plain,
            searched,
            inputs.loads,
            inputs.shapes,
            code_digest(inputs.metric),
        )
        use = target.backend.use if isinstance(target.backend, DeclaresUse) else CPU_USE
        return replace(setup, turns=turns_of(config.run_path, config.workers), use=use)

    def _looked(self, worker: Worker) -> Generator[Event, None, Prepared]:
        """Reference outputs of the search part, calibration, and screening where it has a use."""
        inputs, run_dir = self.inputs, self.config.run_path
        parts, method = inputs.parts, self.config.calibration_method
        yield StageStarted("reference", f"{parts.search.samples} samples")
        beside = inputs.beside(parts.search)
        searched = reference_of(self.target, parts.search, worker, beside)
        yield from self.warn(check_comparable(searched))
        if parts.holdout is not None:
            check_holdout(self.target, parts.holdout, worker)
        yield StageStarted("calibrate", f"{parts.calibration.samples} samples")
        target, lowering, lost = calibrated(self.target, inputs, method, worker, run_dir)
        yield from self.warn(lost)
        priors: tuple[Prior, ...] = ()
        if Precision.FP16 in target.space.precisions:
            yield StageStarted("screen", "values that FP16 would get wrong")
            priors, said = screened(target, inputs, worker, run_dir)
            helpful = () if self.config.rewrite else rewritable(target, priors)
            yield from self.warn((*said, *helpful))
        proxy = proxy_of(target, lowering)
        setup = replace(
            self._setup(target, lowering, searched),
            proxy=None if proxy is None else proxy.proxy,
            noise=self.noise,
        )
        return Prepared(target, lowering, setup, proxy, priors)


@contextmanager
def built_beside(worker: Worker, setup: BenchSetup) -> Iterator[Future[object]]:
    """Build the FP32 engine while the caller does something else; who leaves early ends it."""
    with ThreadPoolExecutor(1) as thread:
        building = thread.submit(worker.call, "engine", setup.baseline)
        try:
            yield building
        finally:
            if not building.done():
                worker.close()


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

    A backend that does not compile opens its own engine in 5 to 100 ms (docs/benchmarks/proxy.md)
    and runs INT8 in integers, faster than a proxy that emulates it: there, a proxy is an engine
    that is not timed.

    Raises:
        ModelError: A weight is not finite, or the proxy is too large.
    """
    if not target.backend.compiles or len(target.space.precisions) == 1:
        return None
    space, scheme = lowering.space, lowering.scheme
    return ProxyGraph(lowering.graph, space, scheme, lowering.scales, lowering.form)
