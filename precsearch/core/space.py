"""The search space as pure data: precisions, layer groups, and assignments of one to the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from precsearch.core.errors import OptionError
from precsearch.core.precision import Encoding, Precision

__all__ = ["Assignment", "GroupTrait", "LayerGroup", "SearchSpace"]


class GroupTrait(Enum):
    """What a strategy may rely on in a group, whatever its kind is called."""

    ADDS_INPUT = auto()
    """Without nodes: decides whether a second input of its neighbour, an Add, is quantized, too."""
    ACTIVATION_PRODUCTS = auto()
    """Multiplies two activations with each other, as the core of an attention does."""


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """ONNX nodes that are decided together, such as Conv+BatchNormalization+Relu.

    Attributes:
        key: Name of the group: the original model's tensor that its last node writes.
        kind: What was recognized, for people: ``conv``, ``matmul``, ``layernorm``, ``node``, …
        nodes: Keys of its nodes in graph order. A node's key is the first output tensor of the node
            in the original model.
        choices: Precisions that it may be asked for, highest first. Always starts with FP32.
        passive: Whether a precision that Q/DQ writes has an effect here only beside a group that
            computes in it (Add, Concat, pooling: they merely keep a tensor quantized).
        signature: Equal for groups of equal structure and shapes (repeated blocks).
        block: Name of the repeated block that it belongs to; empty outside of one.
        macs: Multiply-accumulates for one sample, 0 where unknown.
        traits: What a strategy may rely on.
    """

    key: str
    kind: str
    nodes: tuple[str, ...]
    choices: tuple[Precision, ...] = (Precision.FP32,)
    passive: bool = False
    signature: str = ""
    block: str = ""
    macs: int = 0
    traits: frozenset[GroupTrait] = frozenset()

    def __post_init__(self) -> None:
        if not self.choices or self.choices[0] is not Precision.FP32:
            raise OptionError(f"group {self.key!r}: FP32 must be its first choice")

    def nearest(self, precision: Precision) -> Precision:
        """The choice of the highest rank that is at least as precise as ``precision``."""
        return max((c for c in self.choices if c.rank <= precision.rank), key=lambda c: c.rank)


@dataclass(frozen=True)
class Assignment:
    """Group key → precision. A group that is not listed runs in FP32.

    Equal and hashable by content; the entries are sorted by key and never hold FP32.
    """

    entries: tuple[tuple[str, Precision], ...] = ()

    @classmethod
    def of(cls, precisions: Mapping[str, Precision]) -> Assignment:
        """The assignment with these precisions, FP32 elsewhere."""
        return cls(tuple(sorted((k, p) for k, p in precisions.items() if p is not Precision.FP32)))

    @cached_property
    def _by_key(self) -> dict[str, Precision]:
        return dict(self.entries)

    def __getitem__(self, key: str) -> Precision:
        return self._by_key.get(key, Precision.FP32)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def with_(self, changes: Mapping[str, Precision]) -> Assignment:
        """A copy with some groups changed."""
        return Assignment.of({**self._by_key, **changes})

    def keys_at(self, precision: Precision) -> frozenset[str]:
        """The keys of the groups listed at ``precision`` (FP32 groups are not listed)."""
        return frozenset(k for k, p in self.entries if p is precision)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of the entries, as hex."""
        text = json.dumps([[k, p.value] for k, p in self.entries], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class SearchSpace:
    """The groups of one model, in graph order, and which of them are neighbours.

    Attributes:
        groups: Every group, the undecidable ones (FP32 alone) too.
        edges: Pairs (producer, consumer) of positions in ``groups`` that a tensor connects directly
            or through nodes of undecidable groups that keep a tensor quantized (reshape, max-pool).
        granularity: How the groups were made: ``node``, ``group`` or ``block``.
        fused: Keys of groups that the engine computes in one kernel if they have one precision.
    """

    groups: tuple[LayerGroup, ...]
    edges: tuple[tuple[int, int], ...] = ()
    granularity: str = "group"
    fused: tuple[frozenset[str], ...] = ()

    def __post_init__(self) -> None:
        if len({g.key for g in self.groups}) != len(self.groups):
            raise OptionError("two groups of one search space have the same key")
        n = len(self.groups)
        if any(not (0 <= a < n and 0 <= b < n) for a, b in self.edges):
            raise OptionError("an edge of the search space points outside of its groups")

    @cached_property
    def by_key(self) -> dict[str, LayerGroup]:
        """Groups by key."""
        return {g.key: g for g in self.groups}

    @cached_property
    def free(self) -> tuple[LayerGroup, ...]:
        """The groups with more than one choice, in graph order."""
        return tuple(g for g in self.groups if len(g.choices) > 1)

    @cached_property
    def precisions(self) -> tuple[Precision, ...]:
        """Every precision that some group may take, highest first."""
        precisions = {c for g in self.groups for c in g.choices} | {Precision.FP32}
        return tuple(sorted(precisions, key=lambda p: p.rank))

    @cached_property
    def neighbours(self) -> dict[str, frozenset[str]]:
        """Keys of the groups that share an edge with a group, by its key."""
        neighbours: dict[str, set[str]] = {g.key: set() for g in self.groups}
        for a, b in self.edges:
            neighbours[self.groups[a].key].add(self.groups[b].key)
            neighbours[self.groups[b].key].add(self.groups[a].key)
        return {k: frozenset(v) for k, v in neighbours.items()}

    def uniform(self, precision: Precision, without: Iterable[str] = ()) -> Assignment:
        """Every group at its choice nearest to ``precision``, those in ``without`` at FP32."""
        left = frozenset(without)
        return self.canonical(
            Assignment.of({g.key: g.nearest(precision) for g in self.free if g.key not in left})
        )

    def check(self, assignment: Assignment) -> None:
        """Raise `OptionError` if ``assignment`` asks for what this space does not offer."""
        for key, precision in assignment.entries:
            group = self.by_key.get(key)
            if group is None:
                raise OptionError(
                    f"the assignment names a group {key!r} that the model lacks; 'precsearch "
                    "inspect' shows those it has"
                )
            if precision not in group.choices:
                raise OptionError(f"group {key!r} cannot run in {precision}")

    def canonical(self, assignment: Assignment) -> Assignment:
        """``assignment`` without the choices that cannot take effect.

        A passive group stays at a precision that Q/DQ writes only if a chain of passive groups at
        it connects the group to one that computes in it. Assignments of equal canonical form are
        one trial.

        Raises:
            OptionError: ``assignment`` asks for what this space does not offer.
        """
        self.check(assignment)
        idle: set[str] = set()
        for precision in {p for _, p in assignment.entries if p.spec.encoding is Encoding.QDQ}:
            idle |= self._without_effect(assignment.keys_at(precision))
        return assignment.with_(dict.fromkeys(idle, Precision.FP32)) if idle else assignment

    def _without_effect(self, keys: frozenset[str]) -> frozenset[str]:
        """Those of the groups at one precision that nothing which computes in it reaches."""
        frontier = [k for k in keys if not self.by_key[k].passive]
        reached = set(frontier)
        while frontier:
            for key in self.neighbours[frontier.pop()]:
                if key in keys and key not in reached:
                    reached.add(key)
                    if self.by_key[key].passive:
                        frontier.append(key)
        return keys - reached

    @cached_property
    def digest(self) -> str:
        """SHA-256 over which nodes are decided together, as hex; the choices take no part."""
        rows = [[g.key, list(g.nodes), g.passive] for g in self.groups]
        text = json.dumps([self.granularity, rows], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
