"""The rows of charts that show neither groups nor trials: parts of times, and ranges of tensors."""

from __future__ import annotations

from collections.abc import Iterable

from precsearch.formatting import milliseconds, number
from precsearch.report.charts.values import Row, finite
from precsearch.report.engine_time import EngineTime
from precsearch.report.run_facts import Facts
from precsearch.report.run_record import Range

__all__ = ["range_rows", "spent_rows"]


def spent_rows(times: Iterable[EngineTime]) -> list[Row]:
    """The parts of each engine's time, one after the other, in microseconds."""
    rows: list[Row] = []
    for time in times:
        start = 0.0
        for part, seconds in time.parts.items():
            end = start + seconds * 1e6
            said = f"{milliseconds(seconds)}, {100 * seconds / time.total:.0f} % of this engine"
            row = {"engine": time.engine, "part": part, "start": start, "end": end}
            rows.append({**row, "time said": said})
            start = end
    return rows


def range_rows(facts: Facts) -> list[Row]:
    """Calibrated ranges, and the scales that the plan keeps, by tensor in graph order."""
    plan = facts.story.plan
    scales = {} if plan is None else {s.tensor: s for s in plan.recipe.scales}
    signed = plan is None or "u8" not in plan.recipe.scheme
    place = {g.key: g.place for g in facts.groups}
    tensors = sorted(
        {*facts.story.ranges, *scales}, key=lambda t: (place.get(t, -1), t)
    )  # inputs come first
    rows: list[Row] = []
    for number_, tensor in enumerate(tensors):
        kept = scales.get(tensor)
        step = None if kept is None else float.fromhex(kept.scale)
        zero = 0 if kept is None else kept.zero_point
        found = facts.story.ranges.get(tensor) or _covered(step or 0.0, zero, signed)
        rows.append(
            {
                "place": number_,
                "tensor": tensor,
                "low": finite(found[0]),
                "high": finite(found[1]),
                "range": f"{number(found[0])} to {number(found[1])}",
                "step": "" if step is None else number(step),
                "zero": "" if kept is None else str(zero),
                "used": "in the plan" if kept is not None else "calibrated, not used",
            }
        )
    return rows


def _covered(step: float, zero: int, signed: bool) -> Range:
    """What INT8 can show with a scale and a zero point."""
    low, high = (-127, 127) if signed else (0, 255)
    return ((low - zero) * step, (high - zero) * step)
