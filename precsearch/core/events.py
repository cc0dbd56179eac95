"""What happens during a run, as frozen records.

Journal, live view, plain log and ``--json`` each consume this one stream; nothing else leaves the
loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from precsearch.core.objective import NO_LIMITS, Limits, Objective
from precsearch.core.outline import GroupOutline, UniformEngine
from precsearch.core.problem import Bound, Budget, Goal
from precsearch.core.trial import Proposal, Trial

__all__ = [
    "BatchProposed",
    "Event",
    "FinalistJudged",
    "FinalistTime",
    "FinalistsTimed",
    "GroupOutline",
    "PlanWritten",
    "RunStarted",
    "SearchContinued",
    "SearchFinished",
    "SearchStarted",
    "StageStarted",
    "TrialFinished",
    "TrialStarted",
    "UniformEngine",
    "Warned",
]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first event of a journal: which run this is.

    Attributes:
        identity: What a resume must agree in: digests of model and data, and every option that
            changes results, by name.
        model: File name of the model.
        version: precsearch's version.
    """

    identity: Mapping[str, str]
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins: rewrite, reference, calibrate, screen, build, baseline, confirm or finished.

    ``finished`` is all that comes of resuming a run that has its plan: it is written again, and
    nothing is added to the journal. ``rewrite`` comes before the run has started, and is in no
    journal. ``build`` waits for the FP32 engine, where that is built while the stages before it go
    on. ``compare`` times the plans of several engines, and is in no journal either.
    """

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know; also kept in the plan."""

    message: str


@dataclass(frozen=True, slots=True)
class SearchStarted:
    """The strategy takes over.

    Attributes:
        device: What it runs on, for people.
        strategy: The strategy's name.
        groups: Number of groups that can be decided.
        nodes: Number of nodes of the model.
        bound, budget: As asked.
        noise: Relative noise floor of latency from an A/A measurement.
        spent: Seconds spent before a resume.
        setup_seconds: Seconds from the start of the run to the search; of the first run, where
            this one was resumed.
        earlier: How many trials earlier runs have measured; they follow as finished.
        outline: Every group in graph order, the undecidable ones too.
        objective: What is minimized.
        limits: What an engine must not exceed beside the loss.
        size: Bytes of the FP32 engine.
        fp32: How FP32 is computed (``tf32``, ``strict``), to which speeds are relative; "" where
            the backend has one way alone.
        uniform: The uniform engines; nothing in a journal of version 0.2.0 or before.
        runtime: What runs engines, with its versions; "" in a journal of 0.2.0 or before.
    """

    device: str
    strategy: str
    groups: int
    nodes: int
    bound: Bound
    budget: Budget
    noise: float
    spent: float = 0.0
    outline: tuple[GroupOutline, ...] = ()
    fp32: str = ""
    setup_seconds: float = 0.0
    earlier: int = 0
    objective: Objective = Objective.LATENCY
    limits: Limits = NO_LIMITS
    size: int = 0
    uniform: tuple[UniformEngine, ...] = ()
    runtime: str = ""

    @property
    def goal(self) -> Goal:
        """What is wanted; a noise that is no number counts as none."""
        noise = self.noise if math.isfinite(self.noise) and self.noise > 0 else 0.0
        return Goal(self.bound, noise, self.objective, self.limits, self.size)

    @staticmethod
    def fields_of(goal: Goal) -> dict[str, Any]:
        """The fields that tell a goal, of which `goal` makes the goal again."""
        names = ("bound", "noise", "objective", "limits", "size")
        return {name: getattr(goal, name) for name in names}


@dataclass(frozen=True, slots=True)
class BatchProposed:
    """The strategy asks for these; those known already are answered from memory."""

    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial that is not known yet begins."""

    number: int
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial is done.

    Attributes:
        trial: The trial.
        builds: Engines built and timed so far; one that fails soon is none.
        elapsed: Seconds so far, counting what was spent before a resume.
        replayed: Whether it came from a journal.
    """

    trial: Trial
    builds: int
    elapsed: float
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class SearchFinished:
    """No more trials, unless a `SearchContinued` follows.

    Attributes:
        reason: ``builds`` or ``time`` (budget), ``interrupted``, or why the strategy ended:
            ``baseline`` (FP32 does not run or is not within the bound), ``complete`` (every
            assignment was tried), ``settled`` (the engines so far promise no more gain),
            ``converged`` (no other candidate is expected to gain anything that matters),
            ``patience`` (several engines in a row brought no gain), ``limit`` (its own limit of
            engines), ``done`` (it gave no reason).
        builds: Engines built and timed; those that failed soon are not counted.
        elapsed: Seconds of the search, counting what was spent before a resume.
        expected_gain: See `precsearch.core.strategy.Ending`.
    """

    reason: str
    builds: int
    elapsed: float
    expected_gain: float | None = None


@dataclass(frozen=True, slots=True)
class FinalistTime:
    """A finalist's latency beside the others'.

    Attributes:
        number: Its trial.
        ratio: Latency relative to FP32's.
        low, high: Interval of it, which holds the ratio of each process.
    """

    number: int
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FinalistsTimed:
    """The finalists, uniform engines among them, were timed in the same rounds.

    Attributes:
        times: Of all but FP32, in the order of preference.
    """

    times: tuple[FinalistTime, ...]


@dataclass(frozen=True, slots=True)
class FinalistJudged:
    """A finalist was measured again and looked at on the holdout.

    Attributes:
        number: Its trial.
        loss: On the holdout; on the search part, where there is no holdout.
        ratio: Latency relative to FP32's.
        passed: Whether the loss is within the bound.
        unsure: Whether the ratio is in doubt.
        output: The output that is farthest off, where the model has several.
    """

    number: int
    loss: float
    ratio: float
    passed: bool
    unsure: bool = False
    output: str = ""


@dataclass(frozen=True, slots=True)
class SearchContinued:
    """Faster finalists missed the bound on the holdout: the search goes on with a tighter one.

    A `SearchFinished` and finalists come before it and after it.

    Attributes:
        number: How many times it has gone on now, from 1.
        tolerance: Bound on the loss that it works with from here on.
        trials: How many trials were known by then.
    """

    number: int
    tolerance: float
    trials: int


@dataclass(frozen=True, slots=True)
class PlanWritten:
    """The last event of a run that came to an end.

    Attributes:
        path: Where the plan is, as the user named it.
        ratio: Latency of the chosen engine relative to FP32.
        loss: Its loss on the search part.
        counts: Groups per achieved precision.
    """

    path: str
    ratio: float
    loss: float
    counts: Mapping[str, int] = field(default_factory=dict)


Event = (
    RunStarted
    | StageStarted
    | Warned
    | SearchStarted
    | BatchProposed
    | TrialStarted
    | TrialFinished
    | SearchFinished
    | FinalistsTimed
    | FinalistJudged
    | SearchContinued
    | PlanWritten
)
