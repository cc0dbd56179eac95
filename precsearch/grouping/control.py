"""What a user settles before a search: groups that keep a precision, and the only ones searched.

A pin is a floor, the least precise that its groups may run in: ``op:Gemm=fp32`` keeps every Gemm in
FP32, ``op:Softmax=fp16`` keeps every Softmax out of INT8. A search measures against the engine that
is FP32 throughout and may fall back to it; such a floor never forbids that.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import LayerGroup, SearchSpace

if TYPE_CHECKING:  # the command line knows patterns, and loads no ONNX for its help
    from precsearch.graph.view import GraphView

__all__ = ["NO_CONTROL", "Control", "Pin", "controlled", "matching", "pin"]

_KINDS = ("group", "node", "op", "tensor")
_CLOSE = 3


@dataclass(frozen=True, slots=True)
class Pin:
    """Groups that run in a precision or a more precise one.

    Attributes:
        pattern: Which groups: a name or a glob (``*``, ``?``, ``[…]``) of a group, a node or a
            tensor; with ``group:``, ``node:``, ``op:`` or ``tensor:`` before it, of that alone. A
            tensor is one that a node of the group writes, or a constant that it reads.
        precision: The least precise that they may run in.
        reason: Why, in the user's words; "" for none.
        option: How the user said it, for messages and for the plan.
    """

    pattern: str
    precision: Precision
    reason: str = ""
    option: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """All that is settled.

    Attributes:
        pins: Of several for one group, the most precise holds.
        only: Patterns; where there are any, groups that match none of them stay in FP32.
    """

    pins: tuple[Pin, ...] = ()
    only: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The same on one line, which tells one run from another; "" for nothing."""
        rows = [f"{p.pattern}={p.precision}" for p in self.pins]
        return "; ".join([*rows, *(f"only {pattern}" for pattern in self.only)])


NO_CONTROL = Control()


def pin(pattern: str, precision: str, *, reason: str = "", option: str = "") -> Pin:
    """A pin from text.

    Args:
        pattern: See `Pin`.
        precision: Label of a precision.
        reason: See `Pin`.
        option: How the user said it; by default ``pin PATTERN=PRECISION``.

    Raises:
        OptionError: The pattern is empty, or there is no such precision.
    """
    pattern, precision = pattern.strip(), precision.strip().lower()
    fixed = Precision.named(precision)
    if not pattern or fixed is None:
        names = ", ".join(p.value for p in Precision.ordered())
        raise OptionError(
            f"a pin is PATTERN=PRECISION, such as 'op:Gemm=fp32', with one of {names}, not "
            f"'{pattern}={precision}'"
        )
    return Pin(pattern, fixed, reason, option or f"pin {pattern}={precision}")


def controlled(
    space: SearchSpace, graph: GraphView, control: Control
) -> tuple[SearchSpace, Mapping[str, str]]:
    """A space with the choices that are left, and why groups have fewer.

    Args:
        space: The groups of ``graph``.
        graph: The prepared model.
        control: What the user has settled.

    Returns:
        The space, and the reason by key of each group that lost a choice, half a sentence.

    Raises:
        OptionError: A pattern matches nothing, or a pin forbids nothing that the backend offers.
    """
    if control == NO_CONTROL:
        return space, {}
    names = _Names(space, graph)
    floors: dict[str, tuple[Precision, str]] = {}
    lowest = max(space.precisions, key=lambda p: p.rank)
    for one in control.pins:
        if one.precision.rank >= lowest.rank and lowest is not Precision.FP32:
            raise OptionError(
                f"{one.option!r} settles nothing: a pin is the least precise that a group may run "
                f"in, and {lowest} is the least precise here; 'precsearch edit' sets a precision"
            )
        for key in names.matching(one.pattern, one.option):
            held = floors.get(key)
            if held is None or one.precision.rank < held[0].rank:
                floors[key] = one.precision, _why(one)
    if control.only:
        inside = {k for p in control.only for k in names.matching(p, f"only {p}")}
        for group in space.groups:
            if group.key not in inside:
                floors[group.key] = Precision.FP32, f"kept in fp32: outside of {_only(control)}"
    groups = tuple(_floored(g, floors) for g in space.groups)
    changed = (
        new.key for old, new in zip(space.groups, groups, strict=True) if old.choices != new.choices
    )
    return replace(space, groups=groups), {key: floors[key][1] for key in changed}


def matching(space: SearchSpace, graph: GraphView, pattern: str, option: str) -> list[str]:
    """Keys of the groups that a pattern matches.

    Args:
        space: The groups of ``graph``.
        graph: The prepared model.
        pattern: See `Pin`.
        option: How the user said it, for the message.

    Raises:
        OptionError: There is none.
    """
    return _Names(space, graph).matching(pattern, option)


def _floored(group: LayerGroup, floors: Mapping[str, tuple[Precision, str]]) -> LayerGroup:
    if group.key not in floors:
        return group
    floor = floors[group.key][0]
    return replace(group, choices=tuple(c for c in group.choices if c.rank <= floor.rank))


def _why(one: Pin) -> str:
    what = "kept in fp32" if one.precision is Precision.FP32 else f"at least {one.precision}"
    reason = f", {one.reason}" if one.reason else ""
    return f"{what} by {one.option!r}{reason}"


def _only(control: Control) -> str:
    return " and ".join(repr(f"only {pattern}") for pattern in control.only)


class _Names:
    """Names of the groups, by kind.

    Args:
        space: The groups.
        graph: Their model.
    """

    def __init__(self, space: SearchSpace, graph: GraphView) -> None:
        self._of = {group.key: _names(group, graph) for group in space.groups}

    def matching(self, pattern: str, option: str) -> list[str]:
        """Keys of the groups that a pattern matches.

        Raises:
            OptionError: There is none.
        """
        kind, colon, rest = pattern.partition(":")
        if not (colon and kind in _KINDS):
            kind, rest = "", pattern
        kinds = (kind,) if kind else ("group", "node", "tensor")
        matches = [
            key
            for key, names in self._of.items()
            if any(_matches(name, rest) for kind in kinds for name in names[kind])
        ]
        if not matches:
            every = {name for names in self._of.values() for k in kinds for name in names[k]}
            near = difflib.get_close_matches(rest, sorted(every), _CLOSE)
            hint = f" (do you mean {' or '.join(map(repr, near))}?)" if near else ""
            raise OptionError(
                f"{option!r} matches nothing in this model{hint}; 'precsearch inspect' shows its "
                "groups"
            )
        return matches


def _names(group: LayerGroup, graph: GraphView) -> Mapping[str, frozenset[str]]:
    nodes = [graph.by_key[key] for key in group.nodes]
    written = {t for n in nodes for t in n.outputs if t}
    constants = {t for n in nodes for t in n.inputs if t in graph.weights}
    return {
        "group": frozenset({group.key}),
        "node": frozenset(name for n in nodes for name in (n.key, n.proto.name) if name),
        "op": frozenset(n.op_type for n in nodes),
        "tensor": frozenset(written | constants),
    }


def _matches(name: str, pattern: str) -> bool:
    """A name that holds brackets is its own pattern, too."""
    return name == pattern or fnmatchcase(name, pattern)
