"""What the user is told at the end of a run: that there is a plan, or why there is none."""

from __future__ import annotations

from pathlib import Path

from precsearch.core.events import PlanWritten
from precsearch.core.trial import Measurement, Trial
from precsearch.grouping.undecided import hidden_layers
from precsearch.metrics import Metric
from precsearch.optimization.explanation.conclusion import Searched, conclusions
from precsearch.optimization.stages.search import INTERRUPTED, Rounds
from precsearch.optimization.stages.select import Choice, counts, worst_output
from precsearch.plan.plan import Plan
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.target import Target
from precsearch.setup.unsearched import unsearched
from precsearch.system.shell import argument, command

__all__ = ["beyond_limits", "summary", "unmet", "written"]

_OPTIONS = {"seconds": "latency", "size": "size", "memory": "memory"}


def unmet(config: OptimizeConfig, metric: Metric, baseline: Measurement) -> OptimizeResult:
    """The result of a run whose FP32 engine is not within the bound.

    Args:
        config: What the user asked for.
        metric: The loss.
        baseline: The FP32 engine's measurement.
    """
    worst = worst_output(baseline.accuracy)
    output = f", at the output {worst!r}" if worst else ""
    reason = (
        f"the FP32 engine itself is off by {metric.display(baseline.accuracy.loss):.3g} "
        f"({config.metric}{output}), the bound is {config.tol:g}: nothing was searched; "
        "raise --tol, or find the first wrong tensor with: "
        f"{command('diagnose', argument(config.model), '--precision', 'fp32')}"
    )
    return OptimizeResult(None, None, None, met=False, interrupted=False, summary=(reason,))


def beyond_limits(rounds: Rounds, choice: Choice) -> OptimizeResult:
    """The result of a run in which no engine within the bound is within the limits, too.

    Args:
        rounds: The search.
        choice: The FP32 engine, which breaks some.
    """
    goal = rounds.problem.goal
    timed = [t for t in rounds.trials if t.measurement and t.measurement.latency and t.assignment]
    near = [t for t in timed if t.measurement and goal.passes(t.measurement)]
    closest = min(near, key=lambda t: _excess(rounds, t), default=None)
    reason = f"the FP32 engine: {'; '.join(choice.broken)}"
    if closest is not None and closest.measurement is not None:
        over = rounds.left_out.get(closest.number) or goal.broken(closest.measurement)
        reason = f"the closest is engine {closest.number}: {'; '.join(over)}" if over else reason
    options = " or ".join(f"--max-{_OPTIONS[name]}" for name in goal.limits.given)
    return OptimizeResult(
        None,
        None,
        None,
        met=False,
        interrupted=rounds.stopped == INTERRUPTED,
        summary=(
            f"no engine within the bound on the loss is within the limits; {reason}; raise "
            f"{options}, or --tol",
        ),
    )


def _excess(rounds: Rounds, trial: Trial) -> float:
    """The largest share of a limit that an engine uses."""
    measurement, limits = trial.measurement, rounds.problem.goal.limits
    assert measurement is not None
    assert measurement.latency is not None
    used = {"seconds": measurement.latency.seconds, "size": measurement.artifact_bytes}
    return max((used[n] / most for n, most in limits.given.items() if n in used), default=1.0)


def written(path: Path, plan: Plan, choice: Choice) -> PlanWritten:
    """That a plan is at ``path``, with what its engine achieves."""
    return PlanWritten(
        path=str(path),
        ratio=plan.evidence.latency.ratio,
        loss=plan.evidence.accuracy.loss,
        counts=counts(choice, choice.trial.assignment),
    )


def summary(rounds: Rounds, target: Target, metric: Metric, choice: Choice) -> tuple[str, ...]:
    """Sentences for the user of a search that has ended."""
    latency = choice.measurement.latency
    searched = Searched(
        rounds.problem,
        metric,
        rounds.trials,
        rounds.stopped,
        choice.looks,
        len(rounds.continued),
        "".join(f"{sentence}." for sentence in unsearched(hidden_layers(target.graph))),
        len(target.kept),
        rounds.expected_gain,
    )
    return conclusions(searched, choice.trial, 1.0 if latency is None else latency.ratio)
