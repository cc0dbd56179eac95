"""What a search measured, as the plan records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from precsearch.core.backend import Fingerprint, fp32_words
from precsearch.core.errors import PlanError
from precsearch.core.mismatch import Mismatch
from precsearch.core.precision import Precision
from precsearch.core.strategy import PredictionErrors
from precsearch.core.trial import Accuracy, Latency, Prediction

__all__ = [
    "Continuation",
    "CorrectionEvidence",
    "Evidence",
    "Finalist",
    "Fp32Evidence",
    "GroupEvidence",
    "MissingEvidence",
    "TrialEvidence",
]


@dataclass(frozen=True, slots=True)
class GroupEvidence:
    """What a group ran in, and why it was given its precision.

    ``achieved`` is ``None`` where the engine does not tell: what it fuses into one region shows no
    more than the tensors that go in and out. Of a group in FP32 it is FP32 unless the engine tells
    otherwise.
    """

    key: str
    achieved: Precision | None
    reason: str


@dataclass(frozen=True, slots=True)
class TrialEvidence:
    """One trial, abridged.

    Attributes:
        number: Its position.
        assignment: First 12 hex digits of the assignment's digest.
        counts: Groups per precision below FP32.
        fidelity: ``engine`` or ``proxy``.
        loss, ratio: What came out; ``None`` where there was none.
        failed: ``stage/kind: message`` if it failed.
        why: Why the strategy asked.
        pareto: Whether it is on the front of loss and latency.
        predicted: What its models expected, ``None`` where they were not asked.
        mismatches: Samples that could not be compared.
    """

    number: int
    assignment: str
    counts: Mapping[str, int]
    fidelity: str
    loss: float | None = None
    ratio: float | None = None
    failed: str = ""
    why: str = ""
    pareto: bool = False
    predicted: Prediction | None = None
    mismatches: tuple[Mismatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Finalist:
    """An engine of a last round, in the order fixed before the holdout was looked at.

    Attributes:
        trial: Its number.
        ratio: Latency over FP32's, as confirmed.
        search_loss: On the search part.
        holdout_loss: On the holdout, ``None`` without one.
        passed: Whether it is within the bound.
        output: The output that is farthest off on the holdout, where the model has several.
        round: 0 after the search as asked for, then how often the search had gone on.
    """

    trial: int
    ratio: float
    search_loss: float
    holdout_loss: float | None
    passed: bool
    output: str = ""
    round: int = 0


@dataclass(frozen=True, slots=True)
class Continuation:
    """A search that went on, since faster finalists missed the bound on the holdout.

    Attributes:
        tolerance: Bound on the loss that it worked with.
        trials: How many trials were known before.
        stopped: Why it ended.
    """

    tolerance: float
    trials: int
    stopped: str


@dataclass(frozen=True, slots=True)
class Fp32Evidence:
    """An FP32 engine of one of the ways in which a backend computes FP32.

    Attributes:
        mode: ``tf32``, ``strict``, …; see `precsearch.core.backend.Fp32Mode`.
        loss: Against the reference, on the search part.
        seconds: Of one inference. Engines of different modes were timed apart, minutes may lie
            between them.
        passed: Whether it is within the bound.
        baseline: Whether speeds are relative to this one, and FP32 groups of all engines are
            computed so.
    """

    mode: str
    loss: float
    seconds: float
    passed: bool
    baseline: bool


@dataclass(frozen=True, slots=True)
class CorrectionEvidence:
    """A correction of INT8 that was tried before the search.

    Attributes:
        name: ``equalize``, ``ranges``, …; see docs/corrections.md.
        kept: Whether the plan has it, where it has INT8 at all.
        before, after: Loss of INT8 without and with it, beside those kept before: everywhere, in
            half of the groups, or where a product has weights, whichever falls most. Of one that
            was left out in the end for others that it kept from helping: with these and with it.
    """

    name: str
    kept: bool
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, where and when. Not part of the plan's digest; it has its own.

    Attributes:
        version: precsearch's.
        created: UTC, ISO 8601.
        fingerprint: Versions and device.
        strategy: Its name.
        calibration: Method.
        noise: Relative floor of latency.
        baseline: FP32's latency.
        latency: The chosen engine's, confirmed.
        accuracy: The chosen engine's on the search part.
        holdout: The chosen engine's on the holdout, ``None`` without one.
        groups: Achieved precision and reason by group, in graph order.
        finalists: Who was looked at on the holdout.
        trials: Every trial.
        warnings: What the user should know.
        stopped: Why the search ended, the last one if it went on.
        seconds: Wall time of the run.
        engine: What the chosen engine was made of, where that differs from build to build.
        tactics: What the builder chose by timing: key of a layer → hash of its kernel. For all
            engines of the search; empty where it does not tell (TensorRT before 10.8).
        predictions: How right the strategy's models were, ``None`` where it has none.
        fp32: The FP32 engines that were measured, where the backend has several ways to compute
            FP32.
        continued: Searches that went on after a miss on the holdout.
        corrections: What was tried to make INT8 more accurate, in order.
        strategy_options: Those that differ from the strategy's defaults, as they were given.
        devices: What engines ran on, the home device first, whose timings were compared.
        size: Bytes of what is shipped; 0 where it is not known.
        fp32_size: The same of the FP32 engine.
        memory: Host memory that it takes in a new process; 0 where memory is not limited.
        expected_gain: See `precsearch.core.strategy.Ending`; ``None`` where the search did not
            say.
    """

    version: str
    created: str
    fingerprint: Fingerprint
    strategy: str
    calibration: str
    noise: float
    baseline: Latency
    latency: Latency
    accuracy: Accuracy
    holdout: Accuracy | None = None
    groups: tuple[GroupEvidence, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    trials: tuple[TrialEvidence, ...] = ()
    warnings: tuple[str, ...] = ()
    stopped: str = "done"
    seconds: float = 0.0
    engine: tuple[str, ...] = ()
    tactics: Mapping[str, str] = field(default_factory=dict)
    predictions: PredictionErrors | None = None
    fp32: tuple[Fp32Evidence, ...] = ()
    continued: tuple[Continuation, ...] = ()
    corrections: tuple[CorrectionEvidence, ...] = ()
    strategy_options: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    size: int = 0
    fp32_size: int = 0
    memory: int = 0
    expected_gain: float | None = None

    @property
    def fp32_mode(self) -> str:
        """What FP32 was computed in; "" where the backend has one way alone."""
        return next((e.mode for e in self.fp32 if e.baseline), "")

    @property
    def fp32_words(self) -> str:
        """What people call the FP32 that speeds are relative to."""
        return fp32_words(self.fp32_mode)


class MissingEvidence:
    """Stands for evidence that is not at hand: whoever reads anything of it is told so.

    Args:
        digest: What the plan says is the digest of its evidence, "" if it says nothing.
        reason: Why it is not at hand, one sentence with what to do.
    """

    def __init__(self, digest: str, reason: str) -> None:
        self.digest = digest
        self.reason = reason

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - nothing is returned
        """Refuse.

        Raises:
            PlanError: Always, but for Python's own names.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        raise PlanError(self.reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MissingEvidence) and other.digest == self.digest

    __hash__ = None  # type: ignore[assignment] # like that of a record that holds mappings
