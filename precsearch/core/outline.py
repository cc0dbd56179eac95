"""What the start of a search tells readers of its journal about groups and uniform engines."""

from __future__ import annotations

from dataclasses import dataclass

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, LayerGroup

__all__ = ["GroupOutline", "UniformEngine"]


@dataclass(frozen=True, slots=True)
class GroupOutline:
    """What a reader of a journal must know about a layer group.

    Attributes:
        key: Its name.
        kind: What it is, for people.
        choices: Precisions that it may be asked for, highest first.
        nodes: Number of its nodes.
        macs: Multiply-accumulates for one sample, 0 where unknown.
        block: The repeated block that it belongs to, "" outside of one.
    """

    key: str
    kind: str
    choices: tuple[Precision, ...]
    nodes: int
    macs: int = 0
    block: str = ""

    @classmethod
    def of(cls, group: LayerGroup) -> GroupOutline:
        """The outline of a group."""
        return cls(group.key, group.kind, group.choices, len(group.nodes), group.macs, group.block)


@dataclass(frozen=True, slots=True)
class UniformEngine:
    """A rival that every plan is compared with, whether or not the search builds it.

    Attributes:
        precision: Of all groups that have it. In the groups where a rule advises against it, the
            next precision that no rule advises against.
        assignment: Of precisions to groups.
    """

    precision: Precision
    assignment: Assignment
