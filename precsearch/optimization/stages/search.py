"""A search and its confirmation; it goes on where faster finalists miss on the holdout."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from statistics import median

from precsearch.core.events import (
    Event,
    FinalistJudged,
    SearchContinued,
    SearchFinished,
    SearchStarted,
    TrialFinished,
)
from precsearch.core.exclusions import built
from precsearch.core.objective import Objective
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Strategy
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.optimization.continuing import MOST, as_seen, gained, tightened
from precsearch.optimization.stages.select import Choice, Confirmed, best_so_far, finalists
from precsearch.optimization.stopwatch import Stopwatch, confirmation
from precsearch.plan.plan import Continuation, Finalist
from precsearch.search.evaluator import Evaluate
from precsearch.search.journal import Memo
from precsearch.search.loop import search
from precsearch.system.interrupts import heard

__all__ = ["INTERRUPTED", "Rounds"]

Events = Generator[Event, None, None]
Confirm = Callable[[Sequence[Trial], float | None], Generator[Event, None, Confirmed]]
INTERRUPTED = "interrupted"
"""Why a search ended that was asked to stop."""


@dataclass
class Rounds:
    """Searches until what ships is within the bound on the holdout, or nothing is left to try.

    Attributes:
        problem: With the bound that was asked for.
        strategy: Proposes the trials.
        baseline: FP32's measurement.
        memo: What an earlier run of the journal left.
        watch: The time of the run.
        evaluating: Opens what evaluates the proposals of a search.
        confirm: Times finalists again within some seconds and judges them on the holdout.
        warn: Makes events of what the user should know.
        told_busy: Makes a warning of a measurement that something else disturbed.
        trials: Those of the search so far, at first what earlier runs measured.
        stopped: Why the search ended.
        looks: At the holdout so far.
        continued: Searches that went on.
        left_out: Limits that finalists break, by number of the trial.
        expected_gain: What it still expected; see `precsearch.core.strategy.Ending`.
    """

    problem: Problem
    strategy: Strategy
    baseline: Measurement
    memo: Memo
    watch: Stopwatch
    evaluating: Callable[[Problem], AbstractContextManager[Evaluate]]
    confirm: Confirm
    warn: Callable[[Sequence[str]], Events]
    told_busy: Callable[[Measurement | None], Events]
    trials: list[Trial] = field(default_factory=list)
    stopped: str = INTERRUPTED
    looks: list[Finalist] = field(default_factory=list)
    continued: list[Continuation] = field(default_factory=list)
    left_out: dict[int, tuple[str, ...]] = field(default_factory=dict)
    expected_gain: float | None = None
    _passed: Choice | None = None

    def events(self, started: SearchStarted) -> Generator[Event, None, Choice]:
        """The engine that ships; FP32 where nothing else can.

        Args:
            started: The first event; an interrupt from there on keeps what is known.
        """
        try:
            yield started
            yield from self._earlier()
            yield from self._rounds()
        except KeyboardInterrupt:
            heard()
            self.stopped = INTERRUPTED
        choice = self._passed
        if self.stopped == INTERRUPTED:
            choice = yield from self._interrupted()
        elif choice is None:
            if any(not look.passed for look in self.looks):
                yield from self.warn(["no finalist is within the bound on the holdout"])
            choice = self._fallback()
        return replace(choice, looks=tuple(self.looks))

    def _fallback(self) -> Choice:
        """FP32, with the limits that it breaks."""
        plain = self._plain()
        broken = self.left_out.get(plain.number) or self.problem.goal.broken(self.baseline)
        return Choice(plain, self.baseline, None, (), broken)

    def _earlier(self) -> Events:
        """The trials that are known from earlier runs, for whoever reads the journal."""
        for count, trial in enumerate(self.trials, 1):
            replayed = trial.proposal in self.memo
            builds = built(self.trials[:count])
            yield TrialFinished(trial, builds, self.watch.elapsed, replayed)

    def _rounds(self) -> Events:
        problem = self.problem
        while True:
            yield from self._searched(problem)
            if self.stopped == INTERRUPTED:
                return
            tolerance = yield from self._replayed()
            if tolerance is None:
                yield from self._confirmed(problem)
                tolerance = self._next()
            if tolerance is None:
                return
            self.continued.append(Continuation(tolerance, len(self.trials), ""))
            yield SearchContinued(len(self.continued), tolerance, len(self.trials))
            problem = self._under(tolerance)

    def _searched(self, problem: Problem) -> Events:
        """Run the strategy; a Ctrl-C ends it and keeps its trials."""
        try:
            with (
                self.evaluating(problem) as evaluate,
                closing(self._loop(problem, evaluate)) as loop,
            ):
                for event in loop:
                    if isinstance(event, TrialFinished):
                        self.trials.append(event.trial)
                    elif isinstance(event, SearchFinished):
                        self._ended(event.reason, event.expected_gain)
                    yield event
                    if isinstance(event, TrialFinished) and not event.replayed:
                        yield from self.told_busy(event.trial.measurement)
        except KeyboardInterrupt:
            heard()
            self._ended(INTERRUPTED)
            yield SearchFinished(INTERRUPTED, self._builds, self.watch.elapsed)
        self.trials.sort(key=lambda t: t.number)  # several workers finish in any order

    def _loop(
        self, problem: Problem, evaluate: Evaluate
    ) -> Generator[Event, None, tuple[Trial, ...]]:
        return search(
            problem,
            self.strategy,
            evaluate,
            memo=self.memo,
            spent=self.watch.elapsed,
            clock=self.watch.clock,
            reserve=lambda trials: confirmation(problem, trials),
        )

    @property
    def _builds(self) -> int:
        return built(self.trials)

    def _ended(self, reason: str, expected_gain: float | None = None) -> None:
        """Take down why a search ended.

        That FP32 is not within a tightened bound says nothing about the bound asked for.
        """
        if self.continued:
            self.continued[-1] = replace(self.continued[-1], stopped=reason)
        if not self.continued or reason != "baseline":
            self.stopped, self.expected_gain = reason, expected_gain

    def _under(self, tolerance: float) -> Problem:
        """The problem under another tolerance, with what is known now."""
        goal = self.problem.goal
        goal = replace(goal, bound=replace(goal.bound, tolerance=tolerance))
        return replace(self.problem, goal=goal, known=as_seen(self.trials, self.looks))

    def _replayed(self) -> Generator[Event, None, float | None]:
        """What the journal says of this round: the finalists judged, and the next tolerance.

        So a resumed run goes on as it did before, whatever it would measure now. What the journal
        says is of no use if other trials came before it: the budget was another one.
        """
        recorded = self.memo.went_on(len(self.continued) + 1)
        if recorded is None or recorded[0].trials != len(self.trials):
            return None
        by_number = {t.number: t for t in self._with_plain()}
        for event in recorded[1]:
            trial = by_number.get(event.number)
            if trial is None or trial.measurement is None:
                return None
        for event in recorded[1]:
            self._take(by_number[event.number], event)
            yield event
        return recorded[0].tolerance

    def _take(self, trial: Trial, judged: FinalistJudged) -> None:
        """Add a look that was recorded; if it passed, it is what ships unless a better one does."""
        measurement = trial.measurement
        assert measurement is not None
        loss, losses = judged.loss, measurement.accuracy.loss
        number, output = trial.number, judged.output
        look = Finalist(number, judged.ratio, losses, loss, judged.passed, output, self._round)
        if all(look.trial != other.trial for other in self.looks):
            self.looks.append(look)
        if judged.passed:
            self._passed = Choice(trial, measurement, Accuracy(loss, loss), ())

    @property
    def _round(self) -> int:
        return len(self.continued)

    def _confirmed(self, problem: Problem) -> Events:
        """Time the finalists again and judge them."""
        seen = as_seen(self._with_plain(), self.looks)
        numbers = {t.number for t in finalists(problem, seen)}
        if self._passed is not None:
            numbers.add(self._passed.trial.number)
        numbers -= {look.trial for look in self.looks if not look.passed}
        chosen = [t for t in self._with_plain() if t.number in numbers]
        confirmed = yield from self.confirm(chosen, self._time_to_confirm)
        new = [replace(look, round=self._round) for look in confirmed.looks]
        known = {look.trial for look in self.looks}
        self.looks += [look for look in new if look.trial not in known]
        self._passed = confirmed.choice
        self.left_out |= confirmed.left_out

    @property
    def _time_to_confirm(self) -> float | None:
        """Seconds for timing finalists again; the holdout is looked at with one engine or more."""
        left = self.watch.left
        return None if left is None else max(left - self._engine_seconds, 0.0)

    @property
    def _engine_seconds(self) -> float:
        """What an engine takes, by the median of those so far."""
        engines = (t for t in self.trials if t.proposal.fidelity is Fidelity.ENGINE)
        return median([t.seconds for t in engines] or [0.0])

    def _next(self) -> float | None:
        """The tolerance to go on with, if a faster engine may be found and a budget is left."""
        if self._passed is None or len(self.continued) >= MOST:
            return None
        if self.problem.goal.objective is Objective.SIZE:
            return None  # what a look at the holdout compares is latencies
        latency = self._passed.measurement.latency
        ratio = 1.0 if latency is None else latency.ratio
        if not gained(self.problem.goal, self.looks, ratio):
            return None
        tried = [step.tolerance for step in self.continued]
        tolerance = tightened(self.problem.goal.bound, self.looks, tried)
        return tolerance if tolerance is not None and self._affordable() else None

    def _affordable(self) -> bool:
        """Whether the budget leaves an engine; if not, that is why the search ended."""
        budget = self.problem.budget
        if budget.max_builds is not None and self._builds >= budget.max_builds:
            self.stopped = "builds"
            return False
        left = self.watch.left
        needed = confirmation(self.problem, self.trials) + self._engine_seconds
        if left is not None and left <= needed:
            self.stopped = "time"
            return False
        return True

    def _interrupted(self) -> Generator[Event, None, Choice]:
        """The best so far; what missed on the holdout is not chosen."""
        if self._passed is not None:
            yield from self.warn(
                ["interrupted while the search went on: an engine that passed before is chosen"]
            )
            return self._passed
        yield from self.warn(["interrupted: the choice was not confirmed on the holdout"])
        best = best_so_far(self.problem, as_seen(self._with_plain(), self.looks))
        return best or self._fallback()

    def _plain(self) -> Trial:
        """FP32's trial, made up where the search did not get that far."""
        for trial in self.trials:
            engine = trial.proposal.fidelity is Fidelity.ENGINE
            if engine and not trial.assignment and trial.measurement is not None:
                return trial
        number = 1 + max((t.number for t in self.trials), default=-1)
        return Trial(number, Proposal(Assignment()), Measured(self.baseline))

    def _with_plain(self) -> list[Trial]:
        plain = self._plain()
        known = any(t.number == plain.number for t in self.trials)
        return self.trials if known else [*self.trials, plain]
