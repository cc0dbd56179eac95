"""What the user is told at the end of a run: that there is a plan, or why there is none."""

from __future__ import annotations

from pathlib import Path

from precsearch.api.config import OptimizeConfig, OptimizeResult
from precsearch.api.confirm import Choice, counts
from precsearch.events import PlanWritten
from precsearch.metrics import Metric
from precsearch.plan import Plan
from precsearch.shell import argument, command
from precsearch.trial import Measurement

__all__ = ["unmet", "written"]


def unmet(config: OptimizeConfig, metric: Metric, gate: Measurement) -> OptimizeResult:
    """The result of a run whose FP32 engine is not within the bound.

    Args:
        config: What the user asked for.
        metric: The loss.
        gate: The FP32 engine's measurement.
    """
    said = (
        f"the FP32 engine itself is off by {metric.display(gate.accuracy.loss):.3g} "
        f"({config.metric}), the bound is {config.tol:g}: nothing was searched; "
        "raise --tol, or find the first wrong tensor with: "
        f"{command('diagnose', argument(config.model), '--precision', 'fp32')}"
    )
    return OptimizeResult(None, None, None, met=False, interrupted=False, summary=(said,))


def written(path: Path, plan: Plan, choice: Choice) -> PlanWritten:
    """That a plan is at ``path``, with what its engine achieves."""
    return PlanWritten(
        path=str(path),
        ratio=plan.evidence.latency.ratio,
        loss=plan.evidence.accuracy.loss,
        counts=counts(choice, choice.trial.assignment),
    )
