"""What a user is told in sentences at the end of a search: what was found, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from precsearch.core.objective import Objective
from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.strategy import PredictionErrors, prediction_errors
from precsearch.core.trial import Failed, Fidelity, Measurement, Trial
from precsearch.metrics import Metric
from precsearch.optimization.explanation.advice import outputs_over, wider_bounds
from precsearch.optimization.explanation.explain import ledger
from precsearch.optimization.explanation.stopping import (
    CONCLUSIVE,
    conclusive,
    limit_of,
    why_stopped,
)
from precsearch.plan.plan import Finalist

__all__ = ["Searched", "conclusions"]


@dataclass(frozen=True)
class Searched:
    """A search that has ended.

    Attributes:
        problem: What was searched, with the bound that the user asked for.
        metric: The loss.
        trials: All of them.
        stopped: Why it ended, a reason of `precsearch.core.events.SearchFinished`.
        looks: Who was looked at on the holdout, in that order.
        continued: How often the search went on after a miss on the holdout.
        unsearched: Layers that have no group, in words; "" where there is none.
        kept: How many groups have fewer choices because the user settled it.
        expected_gain: See `precsearch.core.strategy.Ending`.
    """

    problem: Problem
    metric: Metric
    trials: Sequence[Trial]
    stopped: str
    looks: tuple[Finalist, ...] = ()
    continued: int = 0
    unsearched: str = ""
    kept: int = 0
    expected_gain: float | None = None

    @cached_property
    def lowered(self) -> tuple[Trial, ...]:
        """Engines that were asked for something below FP32."""
        return tuple(
            t for t in self.trials if t.proposal.fidelity is Fidelity.ENGINE and t.assignment
        )

    @cached_property
    def ran(self) -> tuple[tuple[Trial, Measurement, float], ...]:
        """Those that were timed, with their latency over FP32's."""
        return tuple(
            (t, m, m.latency.ratio)
            for t in self.lowered
            if (m := t.measurement) is not None and m.latency is not None
        )

    @cached_property
    def predictions(self) -> PredictionErrors | None:
        """How far engines were from their predictions."""
        return prediction_errors(self.problem.goal, self.trials)

    @property
    def why(self) -> str:
        """Why it ended, in words."""
        return why_stopped(self.stopped, self.expected_gain, self.predictions)

    @cached_property
    def missed(self) -> dict[int, Finalist]:
        """Looks that missed the bound on the holdout, by number of the trial."""
        return {look.trial: look for look in self.looks if not look.passed}


def conclusions(searched: Searched, chosen: Trial, ratio: float) -> tuple[str, ...]:
    """Sentences about a search for its user.

    Args:
        searched: The search.
        chosen: The trial that ships.
        ratio: Its latency over FP32's, as confirmed.

    Returns:
        Sentences that are true of this search; none if the plan says it all.
    """
    lines = [*_holdout(searched)]
    if searched.problem.goal.objective is Objective.SIZE:  # what follows tells of speeds
        lines += [*_nothing_smaller(searched, chosen), *_failures(searched)]
        return tuple(dict.fromkeys(lines))
    if not chosen.assignment:
        lines = [_verdict(searched), *lines, *_cheapest(searched), *_again(searched)]
        lines += wider_bounds(searched.problem.goal, searched.metric, searched.ran, searched.missed)
    lines += outputs_over(searched.problem.goal, searched.metric, searched.ran, ratio)
    lines += _failures(searched)
    return tuple(dict.fromkeys(s for s in lines if s))


def _nothing_smaller(searched: Searched, chosen: Trial) -> Iterator[str]:
    """What it means that FP32 ships where the smallest engine was asked for."""
    if not chosen.assignment:
        count, end = len(searched.lowered), why_stopped(searched.stopped, objective=Objective.SIZE)
        yield f"No smaller engine within the bound was found in {_engines(count)}; {end}."


def _verdict(searched: Searched) -> str:
    """What it means that FP32 ships."""
    if not searched.problem.space.free:
        more = f" {searched.unsearched}" if searched.unsearched else ""
        if searched.kept:
            return (
                f"FP32 is what was asked for: the {searched.kept} groups that could have a lower "
                f"precision are kept out of it by --pin, --exclude or --only.{more}"
            )
        return f"FP32 is the answer: no group of this model has a lower precision here.{more}"
    count, limit = len(searched.lowered), limit_of(searched.stopped)
    end = f"the search was cut short by {limit}" if limit else searched.why
    if not count:
        return f"FP32 was compared with no other engine: {end}."
    if not searched.ran:
        return (
            f"No engine of lower precision ran: {_all(count)} failed. FP32 is what is left, not "
            "the answer."
        )
    if searched.missed:
        return (
            "FP32 is the fastest engine that was found within the bound on the search samples and "
            f"on the holdout ({_engines(count)} of lower precision were built; {end})."
        )
    if searched.stopped in CONCLUSIVE:
        cheapest = _single(searched)
        over = cheapest is not None and cheapest.loss > searched.problem.goal.bound.tolerance
        if cheapest is not None and over:
            return f"FP32 is the answer: {cheapest.said(searched.metric)}, which is over the bound."
        if conclusive(searched.stopped, searched.predictions):
            return (
                "FP32 is the answer: no engine within the bound was faster "
                f"({_engines(count)} of lower precision; {end})."
            )
    doubt = " FP32 is the best so far, not the answer." if limit else ""
    return f"No faster engine within the bound was found in {_engines(count)}; {end}.{doubt}"


def _holdout(searched: Searched) -> Iterator[str]:
    """What missed the bound on the holdout, and how often the holdout was looked at."""
    looks = [look for look in searched.looks if look.holdout_loss is not None]
    missed = [look for look in looks if not look.passed]
    if not missed:
        return
    fastest = min(missed, key=lambda look: (look.ratio, look.trial))
    assert fastest.holdout_loss is not None
    output = f" at the output {fastest.output!r}" if fastest.output else ""
    head = (
        f"{_engines(len(missed))} within the bound on the search samples missed it on the holdout"
    )
    yield (
        f"{head}{': ' if len(missed) == 1 else '; the fastest: '}engine {fastest.trial}, "
        f"{1 / fastest.ratio:.2f}x FP32's speed, "
        f"{shown(searched.metric, fastest.search_loss)} on the search samples and "
        f"{shown(searched.metric, fastest.holdout_loss)} on the holdout{output}."
    )
    went_on = searched.continued
    if went_on:
        times = "once" if went_on == 1 else f"{went_on} times"
        yield (
            f"The search went on {times} with a tighter bound; the holdout was looked at "
            f"{len(looks)} times."
        )


@dataclass(frozen=True)
class _Single:
    """The group that costs least, of those that were measured alone."""

    key: str
    precision: Precision
    loss: float
    alone: int

    def said(self, metric: Metric) -> str:
        """The group and its loss."""
        among = f"of {self.alone} measured alone" if self.alone > 1 else "the one measured alone"
        return (
            f"the cheapest group to lower ({self.key} to {self.precision}, {among}) costs "
            f"{shown(metric, self.loss)}"
        )


def _single(searched: Searched) -> _Single | None:
    cost = ledger(searched.trials).cost
    if not cost:
        return None
    (key, precision), loss = min(cost.items(), key=lambda row: (row[1], row[0]))
    return _Single(key, precision, loss, len({k for k, _ in cost}))


def _cheapest(searched: Searched) -> Iterator[str]:
    """What lowering one group costs at least, where the verdict does not say it."""
    cheapest = _single(searched)
    if cheapest is None:
        return
    over = cheapest.loss > searched.problem.goal.bound.tolerance
    if not (over and searched.stopped in CONCLUSIVE and searched.ran and not searched.missed):
        text = cheapest.said(searched.metric)
        yield f"{text[0].upper()}{text[1:]}, which is {'over' if over else 'within'} the bound."


def _again(searched: Searched) -> Iterator[str]:
    """An engine whose first timing the confirmation did not bear out."""
    goal = searched.problem.goal
    faster = [
        ratio
        for t, m, ratio in searched.ran
        if goal.passes(m) and ratio < 1 - goal.noise and t.number not in searched.missed
    ]
    if faster:
        yield (
            f"An engine within the bound that seemed {1 / min(faster):.2f}x as fast as FP32 was "
            "not chosen: it was not faster beyond the noise when it was measured again."
        )


def _failures(searched: Searched) -> Iterator[str]:
    """Engines that did not run: they say nothing about speed or accuracy."""
    failed = [t.outcome for t in searched.lowered if isinstance(t.outcome, Failed)]
    if failed:
        first = failed[0]
        were = "was" if len(failed) == 1 else "were"
        yield (
            f"{_engines(len(failed))} of lower precision failed and {were} not measured; the first "
            f"({first.stage}/{first.kind}): {first.message}"
        )


def shown(metric: Metric, loss: float) -> str:
    """A loss as the user thinks of it, with its unit."""
    if not math.isfinite(loss):
        return "an output that is not finite"
    return f"{metric.display(loss):.3g}{' ' + metric.unit if metric.unit else ''}"


def _engines(count: int) -> str:
    return f"{count} engine{'' if count == 1 else 's'}"


def _all(count: int) -> str:
    return "the only one" if count == 1 else f"all {count}"
