"""What earlier runs measured and a new one need not: their trials, or a plan to start from.

What an engine or a proxy measures follows from the model, the data, the device and how engines are
built, not from the bound. So a run with another bound takes over the trials of one that agrees in
all of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.backend import Fingerprint
from precsearch.core.errors import InputError
from precsearch.core.events import RunStarted, SearchStarted, TrialFinished
from precsearch.core.exclusions import built
from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import KILLED, Failed, Fidelity, Measured, Proposal, Trial
from precsearch.lowering.lower import Lowered
from precsearch.optimization.stages.baseline import differs, named
from precsearch.plan.plan import read_plan
from precsearch.search.journal import read

__all__ = ["Warm", "warm_start"]

_FREE = frozenset({"tol", "objective", "limits", "strategy", "strategy-option"})
"""Of a run's identity, what no outcome depends on."""
_METRIC = "metric"

Place = tuple[str, str]
"""A device and what runs engines there, see `precsearch.core.events.SearchStarted`."""

_BEFORE = "measured by an earlier run: "


@dataclass(frozen=True)
class Warm:
    """What a run starts from.

    Attributes:
        trials: Of earlier runs, each proposal once, numbered from 0.
        guesses: Assignments of plans, as far as this model has their groups.
        unfit: What of the plans cannot be tried, a sentence each.
        measured_on: Device and runtime that earlier runs measured on, where they got so far as to
            search.
    """

    trials: tuple[Trial, ...] = ()
    guesses: tuple[Assignment, ...] = ()
    unfit: tuple[str, ...] = ()
    measured_on: tuple[Place, ...] = ()

    def elsewhere(self, here: Fingerprint) -> tuple[str, ...]:
        """What the user should know of trials that another device or runtime measured."""
        now = here.device, here.runtime
        return tuple(
            f"the trials that are taken over were timed on {named(other)}, and this is "
            f"{named(now)}: the search goes by times that may not hold here; the plan of that run "
            "as --warm-start takes over no times"
            for other in self.measured_on
            if differs(other, now)
        )

    @property
    def said(self) -> tuple[str, ...]:
        """What the user should know."""
        return (*self._taken_over, *self.unfit)

    @property
    def _taken_over(self) -> tuple[str, ...]:
        engines = sum(t.proposal.fidelity is Fidelity.ENGINE for t in self.trials)
        proxies = len(self.trials) - engines
        if not self.trials:
            return ()
        return (
            f"{engines} engine{'' if engines == 1 else 's'} and {proxies} "
            f"prox{'y' if proxies == 1 else 'ies'} of earlier runs are taken over, not measured",
        )

    def check(self, lower: Callable[[Assignment], Lowered]) -> None:
        """Whether engines are lowered as the earlier runs lowered them; one tells of all.

        Raises:
            InputError: They are not: those runs had other corrections, say.
        """
        for trial in self.trials:
            if trial.model_digest and trial.assignment.keys_at(Precision.INT8):
                if lower(trial.assignment).digest != trial.model_digest:
                    raise _unlike("--warm-start", "corrections")
                return

    def __call__(self, problem: Problem) -> Problem:
        """The problem with what is known; its budget of engines is for new ones."""
        budget = problem.budget
        if budget.max_builds is not None:
            budget = replace(budget, max_builds=budget.max_builds + built(self.trials))
        return replace(
            problem,
            known=self.trials,
            earlier=len(self.trials),
            guesses=self.guesses,
            budget=budget,
        )


def warm_start(sources: Sequence[Path], identity: Mapping[str, str], space: SearchSpace) -> Warm:
    """Read earlier runs and plans.

    Args:
        sources: Run directories, journals and plans.
        identity: Of this run.
        space: What is searched.

    Raises:
        InputError: One cannot be read, or is of a run whose measurements do not hold here.
    """
    trials: dict[Proposal, Trial] = {}
    guesses: dict[Assignment, None] = {}
    unfit: list[str] = []
    places: dict[Place, None] = {}
    for source in sources:
        if source.is_dir() or source.suffix == ".jsonl":
            found, place = _trials(source, identity)
            for trial in found:
                trials.setdefault(trial.proposal, trial)
            places.update(dict.fromkeys([place] if found and place[0] else []))
        else:
            chosen = read_plan(source).recipe.assignment
            guess = _guess(chosen, space)
            guesses[guess] = None
            unfit += _unfit(source, chosen, guess)
    taken = tuple(_taken(t, number) for number, t in enumerate(trials.values()))
    return Warm(taken, tuple(a for a in guesses if len(a)), tuple(unfit), tuple(places))


def _taken(trial: Trial, number: int) -> Trial:
    """A trial as another run's; what was predicted of it was in shares of another bound."""
    reason = trial.proposal.reason.removeprefix(_BEFORE)
    proposal = replace(trial.proposal, predicted=None, reason=f"{_BEFORE}{reason}")
    return replace(trial, number=number, proposal=proposal)


def _trials(source: Path, identity: Mapping[str, str]) -> tuple[list[Trial], Place]:
    """The trials of a journal, but for those that something outside killed, and their place."""
    trials: list[Trial] = []
    place = "", ""
    theirs: Mapping[str, str] = {}
    for event in read(source):
        if isinstance(event, RunStarted):
            theirs = event.identity
            _check(source, theirs, identity, _FREE | {_METRIC})
        elif isinstance(event, SearchStarted):
            place = event.device, event.runtime
        elif isinstance(event, TrialFinished):
            outcome = event.trial.outcome
            if not (isinstance(outcome, Failed) and outcome.kind == KILLED):
                trials.append(event.trial)
    judged = [_judged(t, theirs.get(_METRIC, ""), identity.get(_METRIC, "")) for t in trials]
    taken = [t for t in judged if t is not None]
    if trials and not any(t.measurement for t in taken):
        _check(source, theirs, identity)  # it did not score by our metric
    return taken, place


def _judged(trial: Trial, theirs: str, ours: str) -> Trial | None:
    """A trial by our metric; ``None`` if that did not score it."""
    measurement = trial.measurement
    if theirs == ours or measurement is None:
        return trial
    if ours not in measurement.also:
        return None
    also = {
        **{k: a for k, a in measurement.also.items() if k != ours},
        theirs: measurement.accuracy,
    }
    return replace(
        trial, outcome=Measured(replace(measurement, accuracy=measurement.also[ours], also=also))
    )


def _check(
    source: Path,
    theirs: Mapping[str, str],
    ours: Mapping[str, str],
    free: frozenset[str] = _FREE,
) -> None:
    differ = sorted(key for key in {*theirs, *ours} - free if theirs.get(key) != ours.get(key))
    if differ:
        raise _unlike(source, ", ".join(differ))


def _unlike(source: Path | str, what: str) -> InputError:
    return InputError(
        f"{str(source)!r} is a run with other options ({what}), so its measurements do not hold "
        "here; drop --warm-start, or give the plan of that run to start from its choice of "
        "precisions alone"
    )


def _unfit(source: Path, chosen: Assignment, guess: Assignment) -> list[str]:
    """What is lost of a plan's choices."""
    if not chosen.entries:
        return [f"the plan {str(source)!r} is FP32 throughout, so there is nothing to start from"]
    lost = sum(guess[key] is not precision for key, precision in chosen.entries)
    why = "this model has no such groups, or cannot run them so here"
    tried = "they are not tried" if lost == len(chosen) else "the others are tried first"
    return [
        f"of the {len(chosen)} choices of lower precision of the plan {str(source)!r}, {lost} do "
        f"not fit: {why}; {tried}"
    ] * bool(lost)


def _guess(chosen: Assignment, space: SearchSpace) -> Assignment:
    """What a plan chose, where a group of this model has its name and offers its precision."""
    offered = {g.key: g.choices for g in space.free}
    kept = {key: p for key, p in chosen.entries if p in offered.get(key, ())}
    return space.canonical(Assignment.of(kept))
