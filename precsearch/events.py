"""What happens during a run, as frozen records.

Journal, live view, plain log and ``--json`` each consume this one stream; nothing else leaves the
loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from precsearch.goal import Bound, Budget
from precsearch.space import LayerGroup, Precision
from precsearch.trial import Proposal, Trial

__all__ = [
    "BatchProposed",
    "Event",
    "FinalistJudged",
    "GroupOutline",
    "PlanWritten",
    "RunStarted",
    "SearchFinished",
    "SearchStarted",
    "StageStarted",
    "TrialFinished",
    "TrialStarted",
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
    """A stage begins: cure, reference, calibrate, screen, build, gate, confirm or finished.

    ``finished`` is all that comes of resuming a run that has its plan: it is written again, and
    nothing is added to the journal. ``cure`` comes before the run has started, and is in no
    journal. ``build`` waits for the FP32 engine, where that is built while the stages before it go
    on.
    """

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that the user should know; also kept in the plan."""

    message: str


@dataclass(frozen=True, slots=True)
class GroupOutline:
    """What a reader of a journal must know about a layer group.

    Attributes:
        key: Its name.
        kind: What it is, for people.
        choices: Precisions that it may be asked for, highest first.
        nodes: Number of its nodes.
        macs: Multiply-accumulates for one sample, 0 where unknown.
        block: The repeated block that it belongs to, "" outside of one.
    """

    key: str
    kind: str
    choices: tuple[Precision, ...]
    nodes: int
    macs: int = 0
    block: str = ""

    @classmethod
    def of(cls, group: LayerGroup) -> GroupOutline:
        """The outline of a group."""
        return cls(group.key, group.kind, group.choices, len(group.nodes), group.macs, group.block)


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
        outline: Every group in graph order, the undecidable ones too.
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
        builds: Engines built and timed so far.
        elapsed: Seconds so far, counting what was spent before a resume.
        replayed: Whether it came from a journal.
    """

    trial: Trial
    builds: int
    elapsed: float
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class SearchFinished:
    """No more trials.

    Attributes:
        reason: ``done`` (the strategy ended), ``builds`` or ``time`` (budget), ``interrupted``.
    """

    reason: str
    builds: int
    elapsed: float


@dataclass(frozen=True, slots=True)
class FinalistJudged:
    """A finalist was measured again and looked at on the holdout."""

    number: int
    loss: float
    ratio: float
    passed: bool


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
    | FinalistJudged
    | PlanWritten
)
