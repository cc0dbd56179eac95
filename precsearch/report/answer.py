"""The answer of a run: FP32, the best uniform engine and what ships, as bars of their latency."""

from __future__ import annotations

from dataclasses import dataclass, replace

from precsearch.formatting import Scale, magnitude, speedup
from precsearch.report.charts.rows import scale_of
from precsearch.report.run_facts import Facts
from precsearch.report.trial_facts import TrialFact

__all__ = ["Bar", "Line", "answer", "bars"]

_WITHIN = "pass"
_MISSED = "over bound on the holdout"


@dataclass(frozen=True, slots=True)
class Bar:
    """One engine.

    Attributes:
        name: What it is, in words.
        ratio: Its latency relative to FP32's.
        loss: On the search samples, ``None`` where it is not known.
        size: Bytes of what would be shipped, 0 where nobody knows.
        verdict: In words, "" for one that passed.
        ships: Whether it is what ships, or the best so far.
    """

    name: str
    ratio: float
    loss: float | None
    size: int
    verdict: str
    ships: bool


def bars(known: Facts) -> tuple[Bar, ...]:
    """FP32, the fastest uniform engine, and what ships, where they were measured.

    The uniform engine is the fastest one within the bound. If none is, it is the fastest one, and
    its verdict says so. Engines that were timed beside each other at the end are compared by that.
    """
    measured = [t for t in known.trials if t.engine and t.ratio is not None]
    plain = next((t for t in measured if not t.counts), None)
    uniform = [t for t in measured if t.is_uniform]
    missed = {f.number for f in known.story.finalists if not f.passed}
    uniform = [replace(t, verdict=_MISSED) if t.number in missed else t for t in uniform]
    passing = [t for t in uniform if t.verdict == _WITHIN]
    again = known.story.again
    best = min(passing or uniform, key=lambda t: again.get(t.number, t.ratio or 0.0), default=None)
    ships = next((t for t in measured if t.chosen), None)
    plan = known.story.plan
    rows = [] if plain is None else [_bar("FP32", plain)]
    if best is not None and (ships is None or best.number != ships.number):
        rows.append(_bar(f"uniform {_precisions(best)}", best, again.get(best.number)))
    if ships is not None and ships is not plain:
        name = "what ships" if plan is not None else "best so far"
        if best is not None and ships.number == best.number:
            name += f": uniform {_precisions(ships)}"
        ratio = ships.ratio if plan is None else plan.evidence.latency.ratio
        rows.append(_bar(name, ships, ratio))
    return tuple(rows) if len(rows) > 1 else ()


def _precisions(trial: TrialFact) -> str:
    if trial.uniform:
        return trial.uniform.upper()
    return " and ".join(name.upper() for name in trial.counts)


def _bar(name: str, trial: TrialFact, ratio: float | None = None) -> Bar:
    verdict = "" if trial.verdict == _WITHIN else trial.verdict
    assert trial.ratio is not None
    shown = trial.ratio if ratio is None else ratio
    return Bar(name, shown, trial.loss, trial.size, verdict, trial.chosen)


@dataclass(frozen=True, slots=True)
class Line:
    """A bar as the page shows it; all of it is text."""

    name: str
    share: str
    look: str
    speed: str
    loss: str
    size: str


def answer(known: Facts) -> tuple[Line, ...]:
    """The bars, the widest of which has a share of 100; nothing before two engines."""
    rows = bars(known)
    widest = max((row.ratio for row in rows), default=1.0)
    return tuple(_line(row, widest, scale_of(known.bound)) for row in rows)


def _line(row: Bar, widest: float, scale: Scale) -> Line:
    loss = "" if row.loss is None else scale(row.loss)
    return Line(
        name=row.name,
        share=f"{100 * row.ratio / widest:.1f}",
        look="ships" if row.ships else "missed" if row.verdict else "other",
        speed=speedup(row.ratio),
        loss=loss + (f", {row.verdict}" if row.verdict else ""),
        size=f"{magnitude(row.size)}B" if row.size else "",
    )
