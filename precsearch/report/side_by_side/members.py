"""Several runs beside each other: what each reached, and what follows from all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.formatting import counts, duration, magnitude, milliseconds, speedup
from precsearch.formatting import speedup_interval as interval_of
from precsearch.measurement.timing.certainty import doubts
from precsearch.plan.plan import Plan
from precsearch.report.charts.rows import scale_of
from precsearch.report.run_facts import Facts
from precsearch.report.run_record import Story, tell

__all__ = ["MOST", "TITLES", "GroupChoice", "Member", "members", "other_groups"]

MOST = 8
"""As many colours as people tell apart (Okabe and Ito, 2008)."""
TITLES = ("run", "speed over FP32", "latency", "loss", "size", "groups", "search")


@dataclass(frozen=True)
class Member:
    """One of the runs.

    Attributes:
        name: What it is called, different from all others.
        story: What is known of it.
    """

    name: str
    story: Story

    @cached_property
    def facts(self) -> Facts:
        """What a report tells of it."""
        return Facts(self.story)

    @property
    def plan(self) -> Plan | None:
        """Its plan, ``None`` before there is one."""
        return self.story.plan

    @property
    def model(self) -> str:
        """SHA-256 of its model."""
        if self.plan is not None:
            return self.plan.recipe.model_sha256
        return "" if self.story.run is None else self.story.run.identity.get("model", "")

    @property
    def bound(self) -> str:
        """What its outputs were held to."""
        bound = self.facts.bound
        return "" if bound is None else scale_of(bound).bound(bound.tolerance)

    @property
    def engine(self) -> str:
        """Backend and device."""
        if self.plan is not None:
            return f"{self.plan.recipe.backend} on {self.plan.evidence.fingerprint.device}"
        backend = "" if self.story.run is None else self.story.run.identity.get("backend", "")
        device = "" if self.story.search is None else self.story.search.device
        return f"{backend} on {device}"

    @property
    def cells(self) -> tuple[str, ...]:
        """A text for each of `TITLES`."""
        engines = sum(t.engine for t in self.facts.trials)
        if self.plan is None:
            best = next((t for t in self.facts.trials if t.chosen and t.ratio), None)
            speed = "no engine yet" if best is None else f"{speedup(best.ratio or 0.0)} so far"
            return (self.name, speed, "", "", "", "", f"{engines} engines so far")
        evidence = self.plan.evidence
        latency, scale = evidence.latency, scale_of(self.facts.bound)
        low, high = latency.ratio_low, latency.ratio_high
        lowered = Counter(g.asked.value for g in self.facts.groups if g.free)
        judged = evidence.holdout or evidence.accuracy
        return (
            self.name,
            f"{speedup(latency.ratio)} ({interval_of(low, high)})",
            milliseconds(latency.seconds),
            scale(judged.loss),
            f"{magnitude(evidence.size)}B" if evidence.size else "",
            counts(lowered),
            f"{engines} engines in {duration(evidence.seconds)}",
        )

    @property
    def unsure(self) -> tuple[str, ...]:
        """Why its speed is no fact; of FP32 itself nothing is asked."""
        if self.plan is None or not self.plan.recipe.assignment.entries:
            return ()
        return doubts(self.plan.evidence.latency)


def members(paths: Sequence[Path]) -> tuple[Member, ...]:
    """Read each run directory, journal or plan.

    Raises:
        OptionError: There are more than can be told apart, or one is named twice.
        InputError: One cannot be read.
    """
    if len(paths) > MOST:
        raise OptionError(f"a report compares at most {MOST} runs; {len(paths)} were named")
    places = [p.resolve() for p in paths]
    pairs = zip(paths, places, strict=True)
    twice = next((path for path, place in pairs if places.count(place) > 1), None)
    if twice is not None:
        raise OptionError(f"{str(twice)!r} is named twice; name each run once")
    names = _names(places)
    return tuple(Member(n, tell([p])) for n, p in zip(names, paths, strict=True))


def _names(places: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that differ, without the usual suffixes of the last part."""
    ends = [_parts(place) for place in places]
    for length in range(1, max(map(len, ends)) + 1):
        names = ["/".join(parts[-length:]) for parts in ends]
        if len(set(names)) == len(names):
            return names
    return [str(place) for place in places]  # a run and its plan, say


def _parts(place: Path) -> tuple[str, ...]:
    folder = place.parent if place.suffix == ".jsonl" else place
    name = folder.name
    for end in (".plan.json", ".json", ".precsearch"):
        name = name.removesuffix(end)
    return (*folder.parts[1:-1], name)


@dataclass(frozen=True, slots=True)
class GroupChoice:
    """A group that does not have the same precision in all runs.

    Attributes:
        key: Of the group.
        precisions: Its precision in each run, ``None`` where the run has no such group.
    """

    key: str
    precisions: tuple[Precision | None, ...]


def other_groups(runs: Sequence[Member]) -> tuple[GroupChoice, ...]:
    """Groups whose precision differs, in the order of the first run that has them."""
    chosen = [{g.key: g.asked for g in run.facts.groups} for run in runs]
    keys = dict.fromkeys(key for groups in chosen for key in groups)
    rows = (GroupChoice(k, tuple(groups.get(k) for groups in chosen)) for k in keys)
    return tuple(row for row in rows if len(set(row.precisions)) > 1)
