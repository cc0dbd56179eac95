"""What earlier runs measured and a new one need not: their trials, or a plan to start from.

What an engine or a proxy measures follows from the model, the data, the device and how engines are
built, not from the bound. So a run with another bound takes over the trials of one that agrees in
all of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.errors import InputError
from precsearch.core.events import RunStarted, TrialFinished
from precsearch.core.exclusions import built
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import KILLED, Failed, Fidelity, Proposal, Trial
from precsearch.plan.plan import read_plan
from precsearch.search.journal import read

__all__ = ["Warm", "warm_start"]

_FREE = frozenset({"tol", "objective", "limits", "strategy", "strategy-option"})
"""Of a run's identity, what no outcome depends on."""
_BEFORE = "measured by an earlier run: "


@dataclass(frozen=True)
class Warm:
    """What a run starts from.

    Attributes:
        trials: Of earlier runs, each proposal once, numbered from 0.
        guesses: Assignments of plans, as far as this model has their groups.
    """

    trials: tuple[Trial, ...] = ()
    guesses: tuple[Assignment, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """What the user should know."""
        engines = sum(t.proposal.fidelity is Fidelity.ENGINE for t in self.trials)
        proxies = len(self.trials) - engines
        if not self.trials:
            return ()
        return (
            f"{engines} engine{'' if engines == 1 else 's'} and {proxies} "
            f"prox{'y' if proxies == 1 else 'ies'} of earlier runs are taken over, not measured",
        )

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
    for source in sources:
        if source.is_dir() or source.suffix == ".jsonl":
            for trial in _trials(source, identity):
                trials.setdefault(trial.proposal, trial)
        else:
            guesses[_guess(source, space)] = None
    taken = tuple(_taken(t, number) for number, t in enumerate(trials.values()))
    return Warm(taken, tuple(a for a in guesses if len(a)))


def _taken(trial: Trial, number: int) -> Trial:
    """A trial as another run's; what was predicted of it was in shares of another bound."""
    reason = trial.proposal.reason.removeprefix(_BEFORE)
    proposal = replace(trial.proposal, predicted=None, reason=f"{_BEFORE}{reason}")
    return replace(trial, number=number, proposal=proposal)


def _trials(source: Path, identity: Mapping[str, str]) -> list[Trial]:
    """The trials of a journal, but for those that something outside killed."""
    found: list[Trial] = []
    for event in read(source):
        if isinstance(event, RunStarted):
            _check(source, event.identity, identity)
        elif isinstance(event, TrialFinished):
            outcome = event.trial.outcome
            if not (isinstance(outcome, Failed) and outcome.kind == KILLED):
                found.append(event.trial)
    return found


def _check(source: Path, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    differ = sorted(key for key in {*theirs, *ours} - _FREE if theirs.get(key) != ours.get(key))
    if differ:
        raise InputError(
            f"{str(source)!r} is a run with other options ({', '.join(differ)}), so its "
            "measurements do not hold here; drop --warm-start, or give the plan of that run to "
            "start from its choice of precisions alone"
        )


def _guess(source: Path, space: SearchSpace) -> Assignment:
    """What a plan chose, where a group of this model has its name and offers its precision."""
    chosen = read_plan(source).recipe.assignment
    offered = {g.key: g.choices for g in space.free}
    kept = {key: p for key, p in chosen.entries if p in offered.get(key, ())}
    return space.canonical(Assignment.of(kept))
