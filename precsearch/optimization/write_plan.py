"""From a finished search to a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np

from precsearch._version import __version__
from precsearch.codec.vectors import encode_halves
from precsearch.core.backend import Fingerprint
from precsearch.core.problem import Problem, pareto
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.strategy import PredictionErrors, prediction_errors
from precsearch.core.trial import Accuracy, Failed, Latency, Measurement, Prediction, Trial
from precsearch.lowering.lower import Lowered
from precsearch.lowering.qdq.scales import QuantParams
from precsearch.lowering.version import lowering_version
from precsearch.measurement.build_service import Engine
from precsearch.metrics import code_digest
from precsearch.optimization.explanation.explain import explain_groups, ledger
from precsearch.optimization.stages.select import Choice
from precsearch.plan.criteria import wished
from precsearch.plan.plan import (
    Continuation,
    CorrectionEvidence,
    Criteria,
    Evidence,
    Fp32Evidence,
    GroupRecipe,
    Plan,
    Recipe,
    RewriteRecipe,
    ScaleRecipe,
    ShiftRecipe,
    TrialEvidence,
    WeightedShapes,
)
from precsearch.setup.config import DataConfig, OptimizeConfig
from precsearch.setup.inputs import Inputs
from precsearch.setup.shapes import shapes_of
from precsearch.setup.target import Target, formats_of

__all__ = [
    "Finish",
    "make_criteria",
    "make_plan",
    "make_recipe",
    "relowered",
    "scale_recipe",
    "shift_recipes",
    "short_accuracy",
    "short_latency",
]


@dataclass(frozen=True)
class Finish:
    """How a search ended.

    Attributes:
        choice: The engine that ships.
        trials: All trials.
        fingerprint: Versions and device.
        baseline: FP32's latency.
        stopped: Why the search ended.
        warnings: What the user should know.
        seconds: Wall time.
        engine: The one that ships, where it is more than its model.
        fp32: The FP32 engines that were measured, where there are several ways to compute FP32.
        continued: Searches that went on after a miss on the holdout.
        corrections: What was tried to make INT8 more accurate.
        devices: What engines ran on, the home device first.
        expected_gain: See `precsearch.core.strategy.Ending`.
    """

    choice: Choice
    trials: Sequence[Trial]
    fingerprint: Fingerprint
    baseline: Latency
    stopped: str
    warnings: tuple[str, ...]
    seconds: float
    engine: Engine | None = None
    fp32: tuple[Fp32Evidence, ...] = ()
    continued: tuple[Continuation, ...] = ()
    corrections: tuple[CorrectionEvidence, ...] = ()
    devices: tuple[str, ...] = ()
    expected_gain: float | None = None


def make_recipe(
    target: Target, space: SearchSpace, assignment: Assignment, lowered: Lowered, inputs: Inputs
) -> Recipe:
    """The part of a plan that decides the model's bytes."""
    groups = tuple(
        GroupRecipe(g.key, g.kind, assignment[g.key], lowered.parts.get(g.key, ""))
        for g in space.groups
    )
    scales = tuple(scale_recipe(t, p) for t, p in sorted(lowered.params.items()))
    return Recipe(
        model_sha256=target.source.digest,
        materialised_sha256=lowered.sha256,
        lowering=f"{target.form.name}-{lowering_version(target.form.name)}",
        scheme=target.scheme.name,
        granularity=space.granularity,
        space_sha256=target.space.digest,
        backend=target.backend.name,
        options={"threads": target.options.threads, **target.options.build},
        shapes=inputs.shapes,
        groups=groups,
        scales=scales,
        rewrites=tuple(RewriteRecipe(name, dict(params)) for name, params in target.rewrites),
        shifts=shift_recipes(lowered),
        dynamic=lowered.dynamic,
        formats=formats_of(target, {g.precision for g in groups}),
    )


def relowered(recipe: Recipe, target: Target, lowered: Lowered) -> Recipe:
    """A recipe whose groups were changed, with what follows from them.

    Args:
        recipe: With the new precisions.
        target: The model, with the rewrites that it has now.
        lowered: What the new precisions give.
    """
    groups = tuple(replace(g, digest=lowered.parts.get(g.key, "")) for g in recipe.groups)
    return replace(
        recipe,
        materialised_sha256=lowered.sha256,
        groups=groups,
        scales=tuple(scale_recipe(t, p) for t, p in sorted(lowered.params.items())),
        rewrites=tuple(RewriteRecipe(name, dict(params)) for name, params in target.rewrites),
        shifts=shift_recipes(lowered),
        dynamic=lowered.dynamic,
        formats=formats_of(target, {g.precision for g in groups}),
    )


def shift_recipes(lowered: Lowered) -> tuple[ShiftRecipe, ...]:
    """The shifts of a lowered model as a plan records them."""
    return tuple(
        ShiftRecipe(node, encode_halves(shift.astype(np.float16)))
        for node, shift in sorted(lowered.shifts.items())
    )


def scale_recipe(tensor: str, params: QuantParams) -> ScaleRecipe:
    """A scale as a plan records it."""
    return ScaleRecipe(tensor, params.scale.hex(), params.zero_point)


def make_plan(
    config: OptimizeConfig,
    problem: Problem,
    target: Target,
    inputs: Inputs,
    lowered: Lowered,
    finish: Finish,
) -> Plan:
    """The plan for the chosen engine, with the evidence of the whole search."""
    choice, measured = finish.choice, finish.choice.measurement
    assert measured.latency is not None
    assignment, known = choice.trial.assignment, ledger(finish.trials)
    evidence = Evidence(
        version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        fingerprint=finish.fingerprint,
        strategy=config.strategy,
        calibration=config.calibration_method,
        noise=problem.goal.noise,
        baseline=short_latency(finish.baseline),
        latency=short_latency(measured.latency),
        accuracy=short_accuracy(measured.accuracy),
        holdout=None if choice.holdout is None else short_accuracy(choice.holdout),
        groups=explain_groups(problem, assignment, measured.achieved, known, target.kept),
        finalists=choice.looks,
        trials=_trials(finish.trials),
        warnings=finish.warnings,
        stopped=finish.stopped,
        expected_gain=finish.expected_gain,
        seconds=round(finish.seconds, 3),
        engine=() if finish.engine is None else finish.engine.layer_summary,
        tactics={} if finish.engine is None else dict(sorted(finish.engine.tactics.items())),
        predictions=_short_errors(prediction_errors(problem.goal, finish.trials)),
        fp32=tuple(map(_short_engine, finish.fp32)),
        continued=finish.continued,
        corrections=finish.corrections,
        strategy_options=dict(sorted(config.strategy_options.items())),
        devices=finish.devices,
    )
    recipe = make_recipe(target, target.space, assignment, lowered, inputs)
    return Plan(recipe, make_criteria(config, inputs), _with_sizes(evidence, problem, measured))


def _with_sizes(evidence: Evidence, problem: Problem, measured: Measurement) -> Evidence:
    size, memory = measured.artifact_bytes, measured.memory_bytes
    return replace(evidence, size=size, fp32_size=problem.goal.size, memory=memory)


def make_criteria(config: DataConfig, inputs: Inputs) -> Criteria:
    """What `verify` will judge the plan by."""
    loads = inputs.loads if len(config.shapes) > 1 else ()
    total = sum(load.weight for load in loads)
    return Criteria(
        metric=inputs.metric.name,
        tolerance=config.tol,
        seed=config.seed,
        data=inputs.facts(),
        metric_sha256=code_digest(inputs.metric),
        shapes=tuple(
            WeightedShapes(dict(shapes_of(one.feeds[0])), _digits(one.weight / total))
            for one in loads
        ),
        **wished(config.objective, config.limits),
    )


def short_latency(latency: Latency) -> Latency:
    """Rounded to what the clock resolves, so that a plan stays readable."""
    return replace(
        latency,
        seconds=_digits(latency.seconds),
        low=_digits(latency.low),
        high=_digits(latency.high),
        ratio=_digits(latency.ratio),
        ratio_low=_digits(latency.ratio_low),
        ratio_high=_digits(latency.ratio_high),
        apart=tuple(map(_digits, latency.apart)),
        samples=tuple(map(_digits, latency.samples)),
        baseline=tuple(map(_digits, latency.baseline)),
        by_shape=tuple(
            replace(s, weight=_digits(s.weight), seconds=_digits(s.seconds), ratio=_digits(s.ratio))
            for s in latency.by_shape
        ),
    )


def _short_engine(engine: Fp32Evidence) -> Fp32Evidence:
    return replace(engine, loss=_digits(engine.loss), seconds=_digits(engine.seconds))


def _digits(value: float) -> float:
    return float(f"{value:.5g}")


def _short_prediction(prediction: Prediction | None) -> Prediction | None:
    return (
        None
        if prediction is None
        else Prediction(_digits(prediction.ratio), _digits(prediction.usage))
    )


def _short_errors(errors: PredictionErrors | None) -> PredictionErrors | None:
    if errors is None:
        return None
    return replace(errors, ratio=_digits(errors.ratio), usage=_digits(errors.usage))


def short_accuracy(accuracy: Accuracy) -> Accuracy:
    """Rounded, and without what only the search needs."""
    return replace(accuracy, per_sample=tuple(_digits(s) for s in accuracy.per_sample), weights=())


def _counts(assignment: Assignment) -> Mapping[str, int]:
    return dict(sorted(Counter(p.value for _, p in assignment.entries).items()))


def _trials(trials: Sequence[Trial]) -> tuple[TrialEvidence, ...]:
    front, rows = {t.number for t in pareto(trials)}, list[TrialEvidence]()
    for trial in trials:
        measurement, outcome = trial.measurement, trial.outcome
        failed = ""
        if isinstance(outcome, Failed):
            failed = f"{outcome.stage}/{outcome.kind}: {outcome.message}"
        rows.append(
            TrialEvidence(
                number=trial.number,
                assignment=trial.assignment.digest[:12],
                counts=_counts(trial.assignment),
                fidelity=trial.proposal.fidelity.value,
                loss=None if measurement is None else _digits(measurement.accuracy.loss),
                ratio=None
                if measurement is None or measurement.latency is None
                else _digits(measurement.latency.ratio),
                failed=failed,
                why=trial.proposal.reason,
                predicted=_short_prediction(trial.proposal.predicted),
                pareto=trial.number in front,
                mismatches=() if measurement is None else measurement.accuracy.mismatches,
            )
        )
    return tuple(rows)
