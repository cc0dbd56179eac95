"""`verify`: a plan's model, materialised and measured again on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precsearch.api.artifact import other_place, tactics_here
from precsearch.api.config import OptimizeConfig
from precsearch.api.measuring import bench_setup, bench_worker, candidate, reference_of
from precsearch.api.replay import Materialised, materialise, model_beside
from precsearch.api.setup import Inputs, open_inputs
from precsearch.api.shapes import shape_sets
from precsearch.backend import Fingerprint
from precsearch.plan import Plan, read_plan
from precsearch.space import Assignment
from precsearch.trial import Accuracy, Latency

__all__ = ["VerifyReport", "verify"]

_REBUILDS = 3


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` measured.

    Attributes:
        passed: Within the tolerance, and not slower than FP32 beyond the noise.
        verdict: ``identical``: the model is byte for byte what the plan promises.
        metric: Name of the loss.
        tolerance: The bound on it, in the metric's terms.
        loss: On the data given.
        accuracy: With samples and outputs.
        latency: Relative to FP32 on this machine.
        noise: Relative floor of latency on this machine.
        slower: Whether it is slower than FP32 beyond the noise.
        lines: Sentences for people: what differs from the plan's evidence, warnings.
    """

    passed: bool
    verdict: str
    metric: str
    tolerance: float
    loss: float
    accuracy: Accuracy
    latency: Latency
    noise: float
    slower: bool
    lines: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Latency relative to FP32."""
        return self.latency.ratio


def verify(
    plan: str | Path,
    model: str | Path | None = None,
    data: str | Path | None = None,
    *,
    tol: float | None = None,
    threads: int | None = None,
) -> VerifyReport:
    """Materialise a plan's model and measure it on this machine.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        data: Samples, all of them are used; ``None`` is random data.
        tol: Another bound than the plan's.
        threads: Another number of threads than the plan's.

    Raises:
        InputError: Plan, model or data cannot be read.
        ReplayError: The model is another one, or the result differs from what the plan promises.
        EngineError: The engine does not run here.
    """
    path = Path(plan)
    source = model_beside(path, None if model is None else Path(model))
    found = read_plan(path)
    made = materialise(found, source, threads)
    config = _config(found, source, None if data is None else Path(data), tol)
    inputs = open_inputs(config, made.target.graph)
    seen = _measured(made, config, inputs)
    slower = seen.latency.ratio_low > 1 + seen.noise
    lines = [*inputs.data.notes, *inputs.notes]
    if inputs.data.random:
        lines.insert(0, "no --data was given: the loss is measured on random numbers")
    where = seen.where
    lines += other_place(found, where.device, dict(where.versions), where.features)
    return VerifyReport(
        passed=seen.accuracy.loss <= inputs.bound and not slower,
        verdict="identical",
        metric=config.metric,
        tolerance=config.tol,
        loss=seen.accuracy.loss,
        accuracy=seen.accuracy,
        latency=seen.latency,
        noise=seen.noise,
        slower=slower,
        lines=tuple(lines),
    )


def _config(plan: Plan, model: Path, data: Path | None, tol: float | None) -> OptimizeConfig:
    """What the plan was searched with, on this data."""
    evidence, recipe = plan.evidence, plan.recipe
    shapes = recipe.shapes[0] if recipe.shapes else {}
    batch = next((s[0] for s in shapes.values() if s), 1)
    sets = shape_sets(evidence.latency)
    return OptimizeConfig(
        model,
        data,
        evidence.tolerance if tol is None else tol,
        evidence.metric,
        batch=1 if sets else max(1, batch),
        shapes=sets,
        seed=evidence.seed,
    )


@dataclass(frozen=True)
class _Seen:
    """What was measured, and where."""

    where: Fingerprint
    noise: float
    accuracy: Accuracy
    latency: Latency


def _measured(made: Materialised, config: OptimizeConfig, inputs: Inputs) -> _Seen:
    """The plan's engine on all of the data; of its rebuilds, the one with the median ratio."""
    target = made.target
    baseline = made.lowering.lower(Assignment())
    engine = candidate(made.lowered)
    with bench_worker() as worker:
        scored = reference_of(target, inputs.data, worker)
        loads = inputs.loads if config.shapes else ()
        worker.restart_with(bench_setup(config, target, baseline, scored, loads, inputs.shapes))
        where = worker.call("fingerprint")
        worker.call("hold", tactics_here(made.plan, where))
        noise = worker.call("calibrate_noise")
        accuracy = worker.call("score", engine, scored)
        rows = worker.call("confirm", [engine], _REBUILDS)[0]
    latency = sorted(rows, key=lambda r: r.ratio)[len(rows) // 2]
    return _Seen(where, noise, accuracy, latency)
