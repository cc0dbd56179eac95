"""What may be concluded from several runs, and what may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from precsearch.core.objective import Objective
from precsearch.formatting import speedup
from precsearch.report.side_by_side.members import Member

__all__ = ["sentences"]


def sentences(runs: Sequence[Member]) -> tuple[str, ...]:
    """Sentences on several runs; each is true of the runs at hand."""
    return tuple(_sentences(runs))


def _sentences(runs: Sequence[Member]) -> Iterator[str]:
    one_model = _same(runs, lambda m: m.model)
    if not one_model:
        yield "The runs are of different models: speeds, losses and groups do not compare."
    one_engine = _same(runs, lambda m: m.engine)
    if not one_engine:
        where = "; ".join(f"{m.name}: {m.engine}" for m in runs)
        yield (
            "Each speed is relative to the FP32 engine of its own run, and engines or devices "
            f"differ ({where}): compare latencies."
        )
    one_bound = _same(runs, lambda m: m.bound)
    if not one_bound:
        yield f"The bounds differ: {'; '.join(f'{m.name}: {m.bound}' for m in runs)}."
    if one_model and one_engine:
        yield from _fastest(runs, "" if one_bound else ", each within its own bound")
    for member in runs:
        if member.unsure:
            yield f"Why the speed of {member.name} is unsure: {'; '.join(member.unsure)}."
    if one_model:
        yield from _equal(runs)


def _fastest(runs: Sequence[Member], within: str) -> Iterator[str]:
    """Which run is the fastest, where intervals tell."""
    known = [(m, m.plan) for m in runs if m.plan is not None]
    plans = [plan for _, plan in known]
    timed = {plan.criteria.objective for plan in plans}
    fp32 = {plan.evidence.fp32_words for plan in plans}
    if len(known) < len(runs) or len(timed) > 1 or Objective.SIZE.value in timed or len(fp32) > 1:
        return
    unsure = [m.name for m, _ in known if m.unsure]
    if unsure:
        yield f"Which run is the fastest is not decided: the speed of {_and(unsure)} is unsure."
        return
    best, plan = min(known, key=lambda row: row[1].evidence.latency.ratio)
    fastest = plan.evidence.latency
    close = [
        m.name
        for m, other in known
        if m is not best and other.evidence.latency.ratio_low <= fastest.ratio_high
    ]
    speed = f"{speedup(fastest.ratio)} {plan.evidence.fp32_words}'s speed{within}"
    if close:
        yield (
            f"{best.name} is ahead at {speed}, but its interval overlaps with that of "
            f"{_and(close)}: which of them is faster is not decided."
        )
    else:
        yield f"{best.name} is the fastest at {speed}."


def _equal(runs: Sequence[Member]) -> Iterator[str]:
    """Runs that ship the same model."""
    digests: dict[str, list[str]] = {}
    for member in runs:
        if member.plan is not None:
            digests.setdefault(member.plan.recipe.materialised_sha256, []).append(member.name)
    for names in digests.values():
        if len(names) > 1:
            yield f"{_and(names)} ship the same model, byte for byte."


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _same(runs: Sequence[Member], of: Callable[[Member], str]) -> bool:
    return len({of(member) for member in runs}) == 1
