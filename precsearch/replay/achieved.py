"""What an engine runs in other precisions than its plan asks, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from precsearch.core.precision import Precision
from precsearch.lowering.lower import Lowered
from precsearch.system.printable import first_of

__all__ = ["asked_and_ran", "fused_attention"]

_SHOWN = 3


def fused_attention(fused: tuple[int, int]) -> tuple[str, ...]:
    """How many attention cores one kernel computes, a sentence; none for a model without any.

    Args:
        fused: So many, of so many.
    """
    one, every = fused
    if not every:
        return ()
    if one == every:
        return (f"each of {every} attention cores runs in one kernel",)
    return (f"{one} of {every} attention cores run in one kernel, the others in several",)


def asked_and_ran(lowered: Lowered, ran: Mapping[str, Precision | None]) -> tuple[str, ...]:
    """Which groups run in something else than they were asked to, a sentence.

    Args:
        lowered: The model.
        ran: Node → precision that it runs in, ``None`` where that is not told.
    """
    rows: dict[str, str] = {}
    for node, precision in ran.items():
        wanted = lowered.asked.get(node, Precision.FP32)
        if precision is not None and precision is not wanted:
            rows.setdefault(lowered.owners.get(node, node), f"asked {wanted}, runs {precision}")
    if not rows:
        return ()
    shown = first_of([f"{key!r}: {what}" for key, what in sorted(rows.items())], _SHOWN, "; ")
    return (f"the engine does not run everything as the plan asks: {shown}",)
