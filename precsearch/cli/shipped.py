"""Latency, size and memory of what ships, in words."""

from __future__ import annotations

from precsearch.cli.cells import magnitude, milliseconds
from precsearch.core.objective import Objective, Timing
from precsearch.plan.plan import Plan

__all__ = ["by_size", "latency_words", "seconds_words", "share_of_size", "size_rows"]


def by_size(plan: Plan) -> bool:
    """Whether the smallest engine was asked for."""
    return plan.criteria.objective == Objective.SIZE.value


def share_of_size(plan: Plan) -> str:
    """The size beside FP32's; "" where it is not known."""
    evidence = plan.evidence
    if not (evidence.size and evidence.fp32_size):
        return ""
    return f"{100 * evidence.size / evidence.fp32_size:.0f} % of {evidence.fp32_words}'s size"


def latency_words(plan: Plan) -> str:
    """Latency with its interval, FP32's beside it, and which number of the times it is."""
    evidence, latency = plan.evidence, plan.evidence.latency
    return (
        f"{milliseconds(latency.seconds)} ({milliseconds(latency.low)} to "
        f"{milliseconds(latency.high)}), FP32 {milliseconds(evidence.baseline.seconds)}"
        f"{_number(plan.criteria.objective)}"
    )


def seconds_words(seconds: float, objective: str) -> str:
    """The time of an inference, and which number of the times it is."""
    return f"{milliseconds(seconds)}{_number(objective)}"


def _number(objective: str) -> str:
    timing = Objective.named(objective).timing
    return "" if timing is Timing.MEDIAN else f", {timing.value} of all inferences"


def size_rows(plan: Plan) -> list[tuple[str, str]]:
    """Rows on the size of what is shipped, and on the memory it takes where that was measured."""
    evidence, rows = plan.evidence, []
    if evidence.size:
        beside = f", FP32 {magnitude(evidence.fp32_size)}B" if evidence.fp32_size else ""
        rows.append(("size", f"{magnitude(evidence.size)}B{beside}"))
    if evidence.memory:
        rows.append(("memory", f"{magnitude(evidence.memory)}B to open and to run it"))
    return rows
