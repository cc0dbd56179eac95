"""How two plans differ: in groups, scales and options, and in what was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from precsearch.codec import unstructure
from precsearch.formatting import (
    Scale,
    duration,
    loss_bound,
    many,
    milliseconds,
    number,
    speedup_interval,
)
from precsearch.formatting import speedup as speed_of
from precsearch.measurement.timing.certainty import doubts
from precsearch.plan.plan import Plan, read_plan

__all__ = ["Change", "Difference", "compare", "difference_lines", "kept_line"]

_ABSENT = "not there"
_WIDEST = 44


@dataclass(frozen=True, slots=True)
class Change:
    """One thing in both plans, in words; ``not there`` where one lacks it."""

    what: str
    first: str
    second: str
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """Two plans.

    Attributes:
        names: Of their files.
        first, second: The plans.
    """

    names: tuple[str, str]
    first: Plan
    second: Plan

    @property
    def same(self) -> bool:
        """Whether they make the same engine."""
        return self.first.recipe.digest == self.second.recipe.digest

    @property
    def groups(self) -> tuple[Change, ...]:
        """Groups with another precision, or that one plan lacks, in graph order."""
        a = {g.key: g.precision.value for g in self.first.recipe.groups}
        b = {g.key: g.precision.value for g in self.second.recipe.groups}
        return tuple(
            Change(key, a.get(key, _ABSENT), b.get(key, _ABSENT), _reason(self.second, key))
            for key in dict.fromkeys((*a, *b))
            if a.get(key) != b.get(key)
        )

    @property
    def group_count(self) -> int:
        """Groups of either plan."""
        return len({g.key for p in (self.first, self.second) for g in p.recipe.groups})

    @property
    def rebuilt(self) -> tuple[str, ...]:
        """Groups that keep their precision and have other nodes: a cast at a neighbour, say."""
        a = {g.key: (g.precision, g.digest) for g in self.first.recipe.groups}
        return tuple(
            g.key
            for g in self.second.recipe.groups
            if g.key in a and a[g.key][0] is g.precision and a[g.key][1] != g.digest
        )

    @property
    def scale_count(self) -> int:
        """Tensors that either plan quantizes."""
        return len({s.tensor for p in (self.first, self.second) for s in p.recipe.scales})

    @property
    def scales(self) -> tuple[Change, ...]:
        """Tensors that are quantized otherwise."""
        a = {s.tensor: s for s in self.first.recipe.scales}
        b = {s.tensor: s for s in self.second.recipe.scales}
        scales = []
        for tensor in sorted({*a, *b}):
            one, other = a.get(tensor), b.get(tensor)
            if one == other:
                continue
            note = ""
            if one is not None and other is not None:
                before, after = float.fromhex(one.scale), float.fromhex(other.scale)
                note = f"{(after / before - 1) * 100:+.2g} %" if before > 0 else ""
                zeros = (one.zero_point, other.zero_point)
                note += f", zero point {zeros[0]} to {zeros[1]}" if zeros[0] != zeros[1] else ""
            scales.append(
                Change(
                    tensor,
                    _ABSENT if one is None else number(float.fromhex(one.scale), 4),
                    _ABSENT if other is None else number(float.fromhex(other.scale), 4),
                    note,
                )
            )
        return tuple(scales)

    @property
    def options(self) -> tuple[Change, ...]:
        """Everything else of the recipes, and versions and device, where they differ."""
        a, b = _settings(self.first), _settings(self.second)
        return tuple(
            Change(k, a.get(k, _ABSENT), b.get(k, _ABSENT))
            for k in dict.fromkeys((*a, *b))
            if a.get(k) != b.get(k)
        )

    @property
    def measured(self) -> tuple[Change, ...]:
        """What was measured, differing or not."""
        a, b = dict(_numbers(self.first)), dict(_numbers(self.second))
        return tuple(
            Change(k, a.get(k, _ABSENT), b.get(k, _ABSENT)) for k in dict.fromkeys((*a, *b))
        )


def compare(first: Path, second: Path) -> Difference:
    """Read two plans.

    Raises:
        PlanError: One of them cannot be read.
    """
    return Difference((str(first), str(second)), read_plan(first), read_plan(second))


def _reason(plan: Plan, key: str) -> str:
    return next((g.reason for g in plan.evidence.groups if g.key == key), "")


def _settings(plan: Plan) -> dict[str, str]:
    recipe: Mapping[str, object] = unstructure(plan.recipe)
    left_out = ("groups", "scales")
    settings = dict(_flat("", {k: v for k, v in recipe.items() if k not in left_out}))
    where = plan.evidence.fingerprint
    settings["device"] = where.device
    return {**settings, **{f"{k} (version)": v for k, v in where.versions.items()}}


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Leaves of nested data with their places: ``options.threads``, ``1``."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        for place, inner in enumerate(value):
            yield from _flat(f"{prefix}.{place}", inner)
    else:
        yield prefix, str(value)


def _numbers(plan: Plan) -> Iterator[tuple[str, str]]:
    evidence = plan.evidence
    scale = Scale(plan.criteria.metric)
    bound = scale.bound(loss_bound(plan.criteria.metric, plan.criteria.tolerance))
    latency = evidence.latency
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    lowered = len(plan.recipe.assignment)
    engines = sum(t.fidelity == "engine" for t in evidence.trials)
    yield "bound", bound
    if math.isnan(latency.seconds):  # a plan that was edited by hand
        for what in ("loss", "speed over FP32", "latency"):
            yield what, "not measured"
    else:
        yield "loss", scale(evidence.accuracy.loss)
        if evidence.holdout is not None:
            yield "loss on the holdout", scale(evidence.holdout.loss)
        unsure = doubts(latency) if lowered else latency.unsure
        yield "speed over FP32", "; ".join((f"{speed_of(latency.ratio)} ({interval})", *unsure))
        yield "latency", milliseconds(latency.seconds)
    yield "FP32's latency", milliseconds(evidence.baseline.seconds)
    yield "groups below FP32", f"{lowered} of {len(plan.recipe.groups)}"
    yield "search", f"{many(engines, 'engine')} in {duration(evidence.seconds)}"


def difference_lines(difference: Difference) -> list[str]:
    """The difference as lines for a terminal."""
    lines = [f"{difference.names[0]} and {difference.names[1]}: {_verdict(difference)}"]
    sections = (
        ("measured", difference.measured, 0),
        ("options", difference.options, 0),
        ("groups", difference.groups, difference.group_count),
        ("scales", difference.scales, difference.scale_count),
    )
    for title, changes, total in sections:
        if changes:
            of = f" ({len(changes)} of {total} differ)" if total else ""
            lines += ["", f"{title}{of}", *_rows(changes)]
    if difference.rebuilt:
        lines += ["", kept_line(difference)]
    return lines


def kept_line(difference: Difference) -> str:
    """How many groups keep their precision and are written with other nodes all the same."""
    return (
        f"{many(len(difference.rebuilt), 'more group')} of equal precision, with other nodes "
        "(their neighbours changed, or a scale)"
    )


def _verdict(difference: Difference) -> str:
    if difference.same:
        return "the same engine"
    if difference.first.recipe.model_sha256 != difference.second.recipe.model_sha256:
        return "plans for different models"
    return "different engines of one model"


def _rows(changes: tuple[Change, ...]) -> Iterator[str]:
    width = min(max(len(c.what) for c in changes), _WIDEST)
    first = min(max(len(c.first) for c in changes), _WIDEST)
    for change in changes:
        note = f"  ({change.note})" if change.note else ""
        text = f"  {change.what:<{width}}  {change.first:<{first}}"
        yield f"{text}  {change.second}{note}".rstrip()
