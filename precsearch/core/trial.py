"""One trial as pure data: what was proposed, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from precsearch.core.mismatch import LostPart, Mismatch
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment

__all__ = [
    "KILLED",
    "UNKNOWN",
    "Accuracy",
    "Aggregation",
    "Failed",
    "Fidelity",
    "Latency",
    "Measured",
    "Measurement",
    "Outcome",
    "Prediction",
    "Proposal",
    "Trial",
    "hardness",
]


UNKNOWN = "unknown"
"""Said in place of a precision where an engine does not tell what a group ran in."""

KILLED = "killed"
"""Kind of a failure that is not the engine's: something outside killed its worker, twice."""


class Fidelity(str, Enum):
    """How much of an engine a trial needs."""

    PROXY = "proxy"
    """Accuracy alone, untimed; guides a search and never decides it."""
    ENGINE = "engine"
    """Built, run and timed."""


class Aggregation(str, Enum):
    """How per-sample losses become the one loss that a tolerance bounds."""

    RMS = "rms"
    """√(Σ wᵢ eᵢ² / Σ wᵢ), as in relative L2 over all samples (wᵢ = ‖Rᵢ‖²)."""
    MEAN = "mean"
    """Σ wᵢ eᵢ / Σ wᵢ."""
    MAX = "max"
    """The worst sample."""
    NONE = "none"
    """Not made of per-sample losses (a user's function of all outputs)."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The loss of an engine against the reference, on one part of the data.

    Attributes:
        loss: The aggregate that the tolerance bounds, lower is better; ``inf`` if it cannot be
            told, see ``mismatches``.
        upper: The loss that a fresh draw of samples stays under with good probability, estimated by
            resampling the samples; the search judges by it. At least ``loss``.
        by_output: Aggregate loss per output name.
        per_sample: Loss of each sample for the worst output; empty where there is none.
        weights: Weight of each sample in the aggregate, as long as ``per_sample``.
        aggregation: How the samples combine.
        mismatches: Samples that cannot be compared element by element, by output and kind.
        lost: Parts of an output whose variation is lost, which one norm over the output hides.
        shapes: Where several sets of input shapes were compared, the one with the largest loss,
            whose numbers these are.
    """

    loss: float
    upper: float
    by_output: Mapping[str, float] = field(default_factory=dict)
    per_sample: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    aggregation: Aggregation = Aggregation.NONE
    mismatches: tuple[Mismatch, ...] = ()
    lost: tuple[LostPart, ...] = ()
    shapes: str = ""

    @property
    def worst(self) -> float:
        """The largest per-sample loss; ``loss`` where there are no samples."""
        return max(self.per_sample, default=self.loss)


@dataclass(frozen=True, slots=True)
class ShapeLatency:
    """Time of one inference at one set of input shapes.

    Attributes:
        shapes: Input name → shape.
        weight: Share of this set in the latency that is minimized, all shares being 1 together.
        samples: Samples in one inference.
        seconds: Median of the per-round medians.
        ratio: Median of candidate / FP32.
    """

    shapes: Mapping[str, tuple[int, ...]]
    weight: float
    samples: int
    seconds: float
    ratio: float

    @property
    def samples_per_second(self) -> float:
        """Throughput of inferences one after the other."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one inference, measured interleaved with the FP32 engine.

    With several sets of input shapes, all times are weighted means over them.

    Attributes:
        seconds: Median over rounds of the candidate's per-round medians.
        low, high: Bootstrap 95 % interval of ``seconds``.
        ratio: Median over rounds of candidate / FP32, below 1 is faster.
        ratio_low, ratio_high: Bootstrap 95 % interval of ``ratio``.
        samples: The per-round medians in seconds.
        baseline: FP32's per-round medians of the same rounds, in seconds.
        by_shape: The same for each set of input shapes.
        dropped: Rounds that something else on the machine disturbed, and that were repeated.
        unsure: Why the timing is in doubt, half a sentence each; nothing is the normal case.
        apart: The ratio of each timing, if the engine was timed more than once: newly opened, in
            the order of time. The interval of ``ratio`` holds them all.
    """

    seconds: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    samples: tuple[float, ...] = ()
    baseline: tuple[float, ...] = ()
    by_shape: tuple[ShapeLatency, ...] = ()
    dropped: int = 0
    unsure: tuple[str, ...] = ()
    apart: tuple[float, ...] = ()

    @property
    def rounds(self) -> int:
        """How many rounds were measured."""
        return len(self.samples)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What an engine showed.

    Attributes:
        accuracy: On the search part of the data.
        latency: ``None`` at proxy fidelity.
        group_seconds: Time per group key for one inference, from the engine's profile, where the
            backend gives one. Profiling slows an engine: compare these with each other only.
        achieved: What each group that was asked for less than FP32 ran in, by group key; a group
            of which the engine does not tell is missing. Also what a group in FP32 ran in, where
            the engine tells that it was less.
        build_seconds: Time to build the artifact and to open it.
        artifact_bytes: Size of what would be shipped.
        warnings: What the backend said of this engine that a person should know.
        group_bytes: Bytes of constants by group key, where a search needs them.
        memory_bytes: Host memory that opening and running the engine takes; 0 if not measured.
        also: Its accuracy by other metrics, for searches that take this measurement over; see
            `precsearch.metrics.metric_key`.
        conversion_seconds: The part of `group_seconds` in kernels that compute nothing, as Casts.
    """

    accuracy: Accuracy
    latency: Latency | None = None
    group_seconds: Mapping[str, float] = field(default_factory=dict)
    achieved: Mapping[str, Precision] = field(default_factory=dict)
    build_seconds: float = 0.0
    artifact_bytes: int = 0
    warnings: tuple[str, ...] = ()
    group_bytes: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    also: Mapping[str, Accuracy] = field(default_factory=dict)
    conversion_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """The engine ran."""

    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine did not run; not an accuracy failure, and not an exception.

    Attributes:
        stage: Where: ``lower``, ``build``, ``run``, ``time``.
        kind: What: ``error``, ``crash``, ``timeout``, ``memory``, or ``killed`` where something
            outside ended the worker twice; a resumed search tries such a trial again.
        message: One sentence.
    """

    stage: str
    kind: str
    message: str


Outcome = Measured | Failed


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the models of a strategy expect of an engine, before it is built.

    Attributes:
        ratio: Latency over FP32's.
        usage: Share of the bound that it uses, 1 is all of it; see
            `precsearch.core.problem.Goal.usage`.
    """

    ratio: float
    usage: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a strategy wants to know. Only the first two take part in equality.

    Attributes:
        assignment: Of precisions to groups.
        fidelity: Whether an engine is to be built.
        reason: For people.
        predicted: What its models expect, to be compared with what is measured.
    """

    assignment: Assignment
    fidelity: Fidelity = Fidelity.ENGINE
    reason: str = field(default="", compare=False)
    predicted: Prediction | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """A proposal and its outcome.

    Attributes:
        number: Position in the search, from 0.
        proposal: Its assignment is canonical.
        outcome: What came out.
        model_digest: SHA-256 of the lowered model, "" if it could not be lowered.
        seconds: Wall time that it took.
        device: What the engine was timed on, or scored on at proxy fidelity; see
            `precsearch.core.device.DeviceSpec.name`. "" if it was not told.
    """

    number: int
    proposal: Proposal
    outcome: Outcome
    model_digest: str = ""
    seconds: float = 0.0
    device: str = ""

    @property
    def assignment(self) -> Assignment:
        """The canonical assignment."""
        return self.proposal.assignment

    @property
    def measurement(self) -> Measurement | None:
        """The measurement, ``None`` if the trial failed."""
        return self.outcome.measurement if isinstance(self.outcome, Measured) else None


def hardness(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Losses per sample by which proxies choose their samples, those of one rough engine.

    It is the first engine below FP32 that was measured before the first proxy; an answer that no
    later trial changes, in a search that is resumed neither.

    Args:
        trials: Of one search, in any order.

    Returns:
        A loss for each sample of the search part; nothing where no engine tells.
    """
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.proposal.fidelity is Fidelity.PROXY:
            break
        measurement = trial.measurement
        if trial.assignment.entries and measurement is not None and measurement.accuracy.per_sample:
            return measurement.accuracy.per_sample
    return ()
