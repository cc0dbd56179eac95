"""Engines of searches that go on after misses on the holdout, on the recorded landscapes.

    python -m benchmarks.continued --seeds 4

A simulation: an engine's loss on the holdout is its loss on the search samples times a log-normal
factor of median 1 and deviation ``--sigma`` that depends on the assignment, half of it (of the
variance) on which groups are lowered, group by group. Bounds are those that 30 and 50 % of the
assignments pass. *Afresh* searches without `Problem.confirmed`: what has passed on the holdout is
beyond the tighter bound there, if it is so on the search samples. Ratios are by the second timing.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import statistics
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.landscapes.replay import Landscape, load
from precsearch.core.events import Event, FinalistJudged, SearchStarted
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import ReasonedProposals, Strategy
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measurement, Trial
from precsearch.optimization.stages.search import Rounds
from precsearch.optimization.stages.select import Choice, Confirmed
from precsearch.optimization.stopwatch import Stopwatch
from precsearch.plan.plan import Finalist
from precsearch.registry import strategy
from precsearch.search.evaluator import Evaluate
from precsearch.search.journal import Journal

RECORDS = Path(__file__).parent / "landscapes"
SHARES = (0.3, 0.5)
LIMIT = 60


@dataclass(frozen=True)
class Afresh:
    """`auto`, which is not told what has passed on the holdout."""

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """See `precsearch.core.strategy.Strategy.propose`."""
        unaware = replace(problem, confirmed=frozenset())
        return (yield from strategy("auto").propose(unaware))


def drawn(text: str, seed: int) -> float:
    """A standard normal number that depends on the text and the seed alone."""
    digest = hashlib.sha256(f"{seed}/{text}".encode()).digest()
    return float(np.random.default_rng(list(digest[:8])).standard_normal())


@dataclass(frozen=True)
class Held:
    """A record with a holdout that is made up."""

    record: Landscape
    sigma: float
    seed: int

    def loss(self, assignment: Assignment) -> float:
        """On the holdout."""
        own = drawn(assignment.digest, self.seed)
        parts = [drawn(f"{key}{p}", self.seed) for key, p in assignment.entries]
        shared = sum(parts) / math.sqrt(max(len(parts), 1))
        factor = math.exp(self.sigma * (own + shared) / math.sqrt(2))
        return float(self.record.loss[self.record.rows[assignment]]) * factor

    @contextmanager
    def evaluating(self, _: Problem) -> Iterator[Evaluate]:
        """As `Rounds` wants it."""
        yield self.record.evaluate

    def confirmed(
        self, tolerance: float, chosen: Sequence[Trial]
    ) -> Generator[Event, None, Confirmed]:
        """Look at the holdout, the fastest finalist first, until one passes."""
        looks = []
        for trial in sorted(chosen, key=lambda t: (self.ratio(t.assignment), t.number)):
            measurement = trial.measurement
            assert measurement is not None
            loss, ratio = self.loss(trial.assignment), self.ratio(trial.assignment)
            passed = loss <= tolerance or not trial.assignment
            looks.append(Finalist(trial.number, ratio, measurement.accuracy.loss, loss, passed))
            yield FinalistJudged(trial.number, loss, ratio, passed)
            if passed:
                choice = Choice(trial, measurement, Accuracy(loss, loss), tuple(looks))
                return Confirmed(choice, tuple(looks))
        return Confirmed(None, tuple(looks))

    def ratio(self, assignment: Assignment) -> float:
        """By the first timing."""
        return float(self.record.seen[self.record.rows[assignment]]) if assignment else 1.0


def warned(_: Sequence[str]) -> Generator[Event, None, None]:
    """Nothing is warned of."""
    yield from ()


def undisturbed(_: Measurement | None) -> Generator[Event, None, None]:
    """No other program disturbs a record."""
    yield from ()


def drained(steps: Generator[Event, None, Choice]) -> Choice:
    """What the generator returns."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        choice: Choice = end.value
        return choice


def run(held: Held, share: float, searching: Strategy) -> tuple[int, int, int, float]:
    """Continuations, engines in all, engines of continuations, and the ratio of what ships."""
    asked = held.record.problem(share, held.seed, LIMIT)
    one = Latency(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    plain = Measurement(Accuracy(0.0, 0.0), one)
    watch = Stopwatch(0.0, clock=lambda: 0.0)
    started = SearchStarted("", "auto", 1, 1, asked.goal.bound, asked.budget, asked.goal.noise)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder), {}) as journal:
        rounds = Rounds(
            asked,
            searching,
            plain,
            journal.memo,
            watch,
            held.evaluating,
            lambda chosen, _: held.confirmed(asked.goal.bound.tolerance, chosen),
            warned,
            undisturbed,
        )
        choice = drained(rounds.events(started))
    engines = [t for t in rounds.trials if t.proposal.fidelity is Fidelity.ENGINE]
    first = rounds.continued[0].trials if rounds.continued else math.inf
    later = sum(t.number >= first for t in engines)
    rows = held.record.rows
    shipped = held.record.score(rows[choice.trial.assignment])
    return len(rounds.continued), len(engines), later, shipped


def main() -> None:
    """Search all records both ways, and print a table of those that went on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sigma", type=float, default=0.3)
    args = parser.parse_args()
    records = [load(path) for path in sorted(RECORDS.rglob("*.npz"))]
    cases = [
        (Held(record, args.sigma, seed), share)
        for record in records
        for share in SHARES
        for seed in range(args.seeds)
    ]
    before = [run(held, share, Afresh()) for held, share in cases]
    now = [run(held, share, strategy("auto")) for held, share in cases]
    went = [i for i, row in enumerate(before) if row[0]]
    print(f"{len(cases)} searches, of which {len(went)} went on")
    print("| | continuations | engines | in continuations | slower than afresh: mean, worst |")
    print("|---|---|---|---|---|")
    slower = [now[i][3] / before[i][3] - 1 for i in went]
    for name, rows, loss in (("afresh", before, ""), ("now", now, _loss(slower))):
        totals = (sum(rows[i][k] for i in went) for k in (0, 1, 2))
        print(f"| {name} | {' | '.join(str(t) for t in totals)} | {loss} |")


def _loss(slower: Sequence[float]) -> str:
    return f"{statistics.mean(slower):.2%}, {max(slower):.2%}" if slower else ""


if __name__ == "__main__":
    main()
