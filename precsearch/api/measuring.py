"""What a run measures with: workers, the bench in them, and the outputs that are wanted."""

from __future__ import annotations

from dataclasses import replace

from precsearch.api.config import OptimizeConfig
from precsearch.api.setup import Target
from precsearch.api.shapes import ShapeTable
from precsearch.bench import BenchSetup, Candidate, Scored, open_bench
from precsearch.data import Dataset
from precsearch.measure import Load, TimingOptions
from precsearch.onnxio.lower import Lowered
from precsearch.workers import Worker

__all__ = ["bench_setup", "bench_worker", "candidate", "reference_of"]

_BUILD_CACHE = "build.cache"
_PATIENT = TimingOptions(round_seconds=0.02, warmup=15)
"""A GPU that was idle takes some tenths of a second to clock up."""


def reference_of(target: Target, part: Dataset, worker: Worker) -> Scored:
    """A part of the data with the outputs that are wanted on it.

    Raises:
        ModelError: ONNX Runtime refuses the model.
        WorkerError: It crashed or hung on the model.
    """
    given = part.references
    if given is not None:
        return Scored(part, tuple(given))
    folder = target.options.model_folder
    return Scored(part, worker.call("outputs", target.reference_model, part.feeds, folder))


def bench_worker(limit_s: float = 3600.0) -> Worker:
    """A worker for reference outputs and calibration; `Worker.restart_with` a setup to measure."""
    return Worker(open_bench, (None,), limit_s=limit_s)


def candidate(lowered: Lowered) -> Candidate:
    """What is sent to a bench."""
    return Candidate(lowered.model, lowered.digest, lowered.asked, lowered.owners)


def bench_setup(
    config: OptimizeConfig,
    target: Target,
    baseline: Lowered,
    search: Scored,
    loads: tuple[Load, ...] = (),
    shapes: ShapeTable = (),
    metric_sha256: str = "",
) -> BenchSetup:
    """What a bench starts from."""
    return BenchSetup(
        backend=target.factory,
        options=replace(
            target.options, shapes=shapes, cache=str(config.run_path.resolve() / _BUILD_CACHE)
        ),
        baseline=candidate(baseline),
        search=search,
        metric=config.metric,
        timing=_PATIENT if target.backend.compiles else TimingOptions(),
        loads=loads,
        metric_sha256=metric_sha256,
    )
