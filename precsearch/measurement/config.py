"""What a measurement service is given: the FP32 engine, data with its reference, and how to time.

All of it is sent to the worker process, and again to the next one after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from precsearch.core.backend import CPU_USE, Backend, BackendOptions, DeviceUse, Feed
from precsearch.core.precision import Precision
from precsearch.core.problem import Goal
from precsearch.core.trial import Accuracy, Latency, Measurement
from precsearch.data import Dataset
from precsearch.measurement.artifact_store import BUDGET
from precsearch.measurement.timing.latency import Load, TimingOptions
from precsearch.system.serialized import SerializedModel

if TYPE_CHECKING:
    from precsearch.emulation.multiplexed import ProxyModel

__all__ = ["Candidate", "MeasurementConfig", "ReferenceSplit", "Rival"]


@dataclass(frozen=True)
class Candidate:
    """An engine to measure.

    Attributes:
        model: The lowered model, serialized; ``bytes`` gives it in one piece.
        digest: Its identity among the trials of a search.
        asked: Node name → precision that it was asked for.
        owners: Node name → group key.
        products: Names of its products, whatever they were asked for.
    """

    model: bytes | SerializedModel
    digest: str
    asked: Mapping[str, Precision]
    owners: Mapping[str, str]
    products: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReferenceSplit:
    """Part of the data with the outputs that are wanted on it.

    Attributes:
        data: The samples.
        reference: Output name → array for each feed.
        name: The input shapes in words, where an engine is scored at several sets of them.
        also: The same for the other sets; the worst of all is an engine's loss.
    """

    data: Dataset
    reference: tuple[Feed, ...]
    name: str = ""
    also: tuple[ReferenceSplit, ...] = ()


@dataclass(frozen=True)
class Rival:
    """What an engine is up against when it is timed.

    Attributes:
        goal: What is wanted.
        ratio: Of the fastest engine within the bound so far; FP32's is 1.
        trivial: Whether the engine in question is a uniform one: a search concludes from it.
        losses: Of each sample of the search part in a rough engine, for the choice of the samples
            that a proxy sees; nothing where no such engine was measured.
        digest: Of the fastest engine within the bound so far, "" while FP32 is; it is kept.
    """

    goal: Goal
    ratio: float = 1.0
    trivial: bool = False
    losses: tuple[float, ...] = ()
    digest: str = ""

    def matters(self, accuracy: Accuracy) -> bool:
        """Whether more than a rough time is wanted of an engine; models learn from rough ones."""
        return self.trivial or self.goal.passes(Measurement(accuracy))

    def decides(self, accuracy: Accuracy, latency: Latency) -> bool:
        """Whether a conclusion rests on this timing.

        It does on that of a new best, and on that of a uniform engine, unless this one is clearly
        faster than FP32 and beyond the bound: it cannot ship, and the search goes on.
        """
        if not self.goal.passes(Measurement(accuracy)):
            return self.trivial and latency.ratio_high >= 1
        return self.trivial or latency.ratio < self.ratio


@dataclass(frozen=True)
class MeasurementConfig:
    """All that a measurement service needs to start again after a crash, on any host.

    It holds no path: those are the `precsearch.measurement.place.Place` of the service.

    Attributes:
        backend: Constructs the backend from `options`.
        options: Its options, without the paths of one machine.
        baseline: The FP32 engine's model.
        search: The part of the data that the search looks at.
        metric: The loss, as the user named it.
        metric_sha256: Digest of the user's own metric, "" for a built-in one.
        noise: Relative noise of latency; 0 before it is known.
        timing: How long to time.
        loads: What is timed; nothing is the part of the data that the search looks at.
        use: How each stage uses a device that several services share.
        proxy: Scores assignments without an engine; ``None`` where `MeasurementService.probe` is
            not called.
        also: Other metrics that engines are scored by, with their digests as for ``metric``.
        engine_budget: Bytes of built engines to keep, for backends that keep them.
        sizes: Whether measurements say what the constants of each group take.

    Raises:
        ValueError: The options hold a path.
    """

    backend: Callable[[BackendOptions], Backend]
    options: BackendOptions
    baseline: Candidate
    search: ReferenceSplit
    metric: str
    noise: float = 0.0
    timing: TimingOptions = field(default_factory=TimingOptions)
    loads: tuple[Load, ...] = ()
    use: DeviceUse = CPU_USE
    proxy: ProxyModel | None = None
    metric_sha256: str = ""
    also: tuple[tuple[str, str], ...] = ()
    engine_budget: int = BUDGET
    sizes: bool = False

    def __post_init__(self) -> None:
        if self.options.model_folder or self.options.cache or self.options.scratch:
            raise ValueError("a measurement config holds no path of one machine")

    @property
    def timed(self) -> tuple[Load, ...]:
        """What is timed."""
        data = self.search.data
        return self.loads or (Load.spread(data.feeds, data.sizes[0]),)

    def to_time(self) -> MeasurementConfig:
        """What a service needs to time engines alone: one sample in place of all, and no proxy."""
        one = ReferenceSplit(self.search.data.take([0]), ())
        return replace(self, search=one, loads=self.timed, proxy=None)
