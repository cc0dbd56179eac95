"""What ``benchmarks/proxy`` compares: a model's engines and its proxy, open and timed."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.proxy.table import SAMPLES
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import Array, BackendOptions, Feed, Session
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.data import input_specs, load
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales


def resident_mb() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def seconds(call: Callable[[], object]) -> float:
    """Of processor time, all threads together: the machine may be shared."""
    start = time.process_time()
    call()
    return time.process_time() - start


def loss(outputs: Sequence[Feed], reference: Sequence[Feed]) -> float:
    worst = 0.0
    for name in reference[0]:
        a = np.concatenate([np.asarray(o[name], np.float64).ravel() for o in outputs])
        b = np.concatenate([np.asarray(o[name], np.float64).ravel() for o in reference])
        off = float(np.linalg.norm(a - b) / np.linalg.norm(b)) if np.isfinite(a).all() else np.inf
        worst = max(worst, off)
    return worst


def without_int8(space: SearchSpace, bad: set[str]) -> SearchSpace:
    def kept(choices: tuple[Precision, ...]) -> tuple[Precision, ...]:
        return tuple(c for c in choices if c is not Precision.INT8)

    groups = (replace(g, choices=kept(g.choices)) if g.key in bad else g for g in space.groups)
    return replace(space, groups=tuple(groups))


@dataclass(frozen=True)
class Model:
    """One that is read and calibrated."""

    graph: GraphView
    space: SearchSpace
    backend: OnnxRuntimeBackend
    lowering: Lowering
    scales: RangeScales
    plain: bytes
    feeds: list[Feed]


def calibrated(folder: Path, name: str, threads: int) -> Model:
    backend = OnnxRuntimeBackend(BackendOptions(threads=threads))
    scheme = backend.scheme
    graph = prepare(read_model(folder / name / "model.onnx"))
    space = group(graph, scheme, frozenset(Precision))
    data = load(folder / name / "data.npz", input_specs(graph.inputs))
    feeds = list(data.feeds[: max(SAMPLES)])
    plain = Lowering(graph, space, scheme, RangeScales({}, scheme)).lower(Assignment()).model
    tensors = quantizable(graph, scheme, space)
    names = tuple(sorted(frozenset().union(*tensors.values())))
    ranges = collect_ranges(Calibration(plain, "", names), feeds)
    space = without_int8(space, {k for k, ts in tensors.items() if not ts <= ranges.keys()})
    scales = RangeScales(ranges, scheme)
    lowering = Lowering(graph, space, scheme, scales)
    return Model(graph, space, backend, lowering, scales, plain, feeds)


@dataclass(frozen=True)
class Opened:
    """A model's FP32 engine and its proxy, and what they took.

    Attributes:
        reference: What the engine gives.
    """

    model: Model
    session: Session
    written: ProxyGraph
    proxy: Proxy
    reference: list[dict[str, Array]]
    graph_s: float
    open_s: float
    session_mb: float
    proxy_mb: float

    def loss_of(self, assignment: Assignment, count: int | None = None) -> float:
        """By the proxy, on the first samples."""
        outputs = self.proxy.run(self.written.request(assignment), self.model.feeds[:count])
        return loss(outputs, self.reference[:count])

    def engine_loss_of(self, assignment: Assignment, count: int | None = None) -> float:
        """By an engine of its own."""
        engine = self.model.backend.open(self.model.lowering.lower(assignment).model)
        outputs = [engine.run(f) for f in self.model.feeds[:count]]
        return loss(outputs, self.reference[:count])

    def with_proxy_s(self, assignment: Assignment, count: int) -> float:
        return seconds(lambda: self.loss_of(assignment, count))

    def without_s(self, assignment: Assignment, count: int) -> float:
        return seconds(lambda: self.engine_loss_of(assignment, count))

    def fp32_s(self) -> float:
        """One pass of FP32 over all samples."""
        return seconds(lambda: [self.session.run(f) for f in self.model.feeds])


def opened(model: Model, threads: int) -> Opened:
    empty = resident_mb()
    session = model.backend.open(model.plain)
    for feed in model.feeds:
        session.run(feed)
    session_mb = resident_mb() - empty
    scheme = model.backend.scheme
    made: list[ProxyGraph] = []
    graph_s = seconds(
        lambda: made.append(
            ProxyGraph(LoweringContext(model.graph, model.space, scheme, model.scales))
        )
    )
    empty = resident_mb()
    proxies: list[Proxy] = []
    open_s = seconds(lambda: proxies.append(Proxy(made[0].proxy, threads, threads)))
    proxies[0].run(made[0].request(Assignment()), model.feeds)
    proxy_mb = resident_mb() - empty
    reference = [session.run(f) for f in model.feeds]
    return Opened(
        model, session, made[0], proxies[0], reference, graph_s, open_s, session_mb, proxy_mb
    )
