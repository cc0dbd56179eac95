"""What a rule reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from precsearch.graph.view import NodeView
from precsearch.hazards.screened import Screened
from precsearch.lowering.capabilities import cast_slots

__all__ = ["Finding", "Gravity", "readers", "touching"]


class Gravity(IntEnum):
    """Which reason a group is given if there are several: the surest."""

    HEADROOM = 0
    INNER = 1
    PRECISION = 2
    CANCELLATION = 3
    UNDERFLOW = 4
    OVERFLOW = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """A node that should not compute in the float format, and why: the end of a sentence."""

    gravity: Gravity
    node: NodeView
    reason: str


def readers(screened: Screened, tensor: str) -> Iterator[tuple[NodeView, int]]:
    """(node, input slot) of those that would read a tensor in the float format."""
    for node, slot in screened.graph.consumers.get(tensor, ()):
        if slot in cast_slots(node, screened.graph, screened.typed_as):
            yield node, slot


def touching(screened: Screened, tensor: str) -> Iterator[NodeView]:
    """The nodes that would round a tensor to the float format: its producer and its readers."""
    producer = screened.graph.producer.get(tensor)
    if producer is not None:
        yield producer
    for node, _ in readers(screened, tensor):
        yield node
