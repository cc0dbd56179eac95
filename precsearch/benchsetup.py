"""What a bench is given: engines to measure, data with its reference, and how to time.

All of it is sent to the worker process, and again to the next one after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from precsearch.backend import Backend, BackendOptions, Feed
from precsearch.data import Dataset
from precsearch.measure import Load, TimingOptions
from precsearch.onnxio.proxygraph import ProxyModel
from precsearch.space import Precision

__all__ = ["BenchSetup", "Candidate", "Scored"]


@dataclass(frozen=True)
class Candidate:
    """An engine to measure.

    Attributes:
        model: The lowered model, serialised.
        digest: Its identity among the trials of a search.
        asked: Node name → precision that it was asked for.
        owners: Node name → group key.
    """

    model: bytes
    digest: str
    asked: Mapping[str, Precision]
    owners: Mapping[str, str]


@dataclass(frozen=True)
class Scored:
    """Part of the data with the outputs that are wanted on it."""

    data: Dataset
    reference: tuple[Feed, ...]


@dataclass(frozen=True)
class BenchSetup:
    """All that a bench needs to start again after a crash.

    Attributes:
        backend: Constructs the backend from `options`.
        options: Its knobs.
        baseline: The FP32 engine's model.
        search: The part of the data that the search looks at.
        metric: The loss, as the user named it.
        metric_sha256: Digest of the user's own metric, "" for a built-in one.
        noise: Relative noise of latency; 0 before it is known.
        timing: How long to time.
        loads: What is timed; nothing is the part of the data that the search looks at.
        turns: A file that says whose turn it is, where several benches share the device.
        proxy: Scores assignments without an engine; ``None`` where `Bench.probe` is not called.
    """

    backend: Callable[[BackendOptions], Backend]
    options: BackendOptions
    baseline: Candidate
    search: Scored
    metric: str
    noise: float = 0.0
    timing: TimingOptions = field(default_factory=TimingOptions)
    loads: tuple[Load, ...] = ()
    turns: str | None = None
    proxy: ProxyModel | None = None
    metric_sha256: str = ""
