"""A TensorRT engine that is ready to run: its buffers live on the device, CUDA events time it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from precsearch.backends.tensorrt.inspector import REFORMAT, EngineLayer
from precsearch.backends.tensorrt.runtime.buffers import Buffers
from precsearch.backends.tensorrt.runtime.cuda import Cuda
from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.errors import RunError

__all__ = ["TensorRtSession"]

_SHORT_S = 50e-6
"""An engine that takes less is run several times between two events."""
_MOST_AT_ONCE = 16


class TensorRtSession:
    """An engine with its context. Not thread-safe.

    Inputs are copied to the device before the clock starts, outputs after it has stopped.

    Args:
        trt: The module.
        cuda: The CUDA runtime.
        engine: Deserialized.
        layers: What it is made of, if it is to be profiled.
        nodes: Names of the nodes of its model, if it is to be profiled.
        graphs: Whether to time it as a CUDA graph.
        warnings: Where it says what a person should know.
    """

    def __init__(
        self,
        trt: Any,  # noqa: ANN401 - TensorRT's bindings have no types
        cuda: Cuda,
        engine: Any,  # noqa: ANN401
        context: Any,  # noqa: ANN401
        layers: Sequence[EngineLayer] = (),
        nodes: Sequence[str] = (),
        *,
        graphs: bool = True,
        warnings: list[str] | None = None,
    ) -> None:
        self._trt = trt
        self._cuda = cuda
        self._context = context
        self._layers = tuple(layers)
        self._nodes = tuple(nodes)
        self._graphs = graphs
        self._warnings = warnings if warnings is not None else []
        self._stream = cuda.stream()
        self._buffers: Buffers | None = Buffers(trt, cuda, engine, context, self._stream)
        self._captured: dict[object, Any] = {}
        self._at_once: dict[object, int] = {}

    def _ready(self) -> Buffers:
        if self._buffers is None:
            raise RunError("the session is closed")
        return self._buffers

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `precsearch.core.backend.Session.run`."""
        buffers = self._ready()
        buffers.fill(feed)
        self._enqueue()
        return buffers.outputs()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._cuda_stream()):
            raise RunError("TensorRT could not run the engine")

    def _cuda_stream(self) -> int:
        return int(self._stream)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        """See `precsearch.core.backend.Session.time`."""
        buffers = self._ready()
        shape = buffers.fill(feed)
        if shape not in self._at_once:
            self._warm(shape)
        together = self._at_once[shape]
        events = self._cuda.events(repeats + 1)
        try:
            self._cuda.record(events[0], self._stream)
            for event in events[1:]:
                for _ in range(together):
                    self._once(shape)
                self._cuda.record(event, self._stream)
            return [s / together for s in self._cuda.seconds(events)]
        finally:
            self._cuda.close_events(events)

    def _once(self, shape: object) -> None:
        graph = self._captured.get(shape)
        if graph is None:
            self._enqueue()
        else:
            self._cuda.launch(graph, self._stream)

    def _warm(self, shape: object) -> None:
        """Run it, record it as a graph, and find out how many runs make a time worth taking."""
        for _ in range(2):  # TensorRT asks for a plain run before a capture
            self._enqueue()
        self._cuda.wait(self._stream)
        if self._graphs:
            self._capture(shape)
        events = self._cuda.events(6)
        try:
            self._cuda.record(events[0], self._stream)
            for event in events[1:]:
                self._once(shape)
                self._cuda.record(event, self._stream)
            first = median(self._cuda.seconds(events))
        finally:
            self._cuda.close_events(events)
        runs = math.ceil(_SHORT_S / max(first, 1e-7))
        self._at_once[shape] = min(max(runs, 1), _MOST_AT_ONCE)

    def _capture(self, shape: object) -> None:
        self._cuda.begin_capture(self._stream)
        failed = ""
        try:
            self._enqueue()
        except RunError as error:
            failed = str(error)
        try:
            self._captured[shape] = self._cuda.end_capture(self._stream)
        except RunError as error:
            failed = failed or str(error)
        if failed:
            self._captured.pop(shape, None)
            self._warnings.append(f"timed without a CUDA graph: {failed}")

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """See `precsearch.core.backend.Session.profile`. Kernels run one after the other here."""
        buffers = self._ready()
        buffers.fill(feed)
        times: dict[str, list[float]] = {}

        class Profiler(self._trt.IProfiler):  # type: ignore[misc, name-defined]
            def __init__(self, trt: Any) -> None:  # noqa: ANN401
                trt.IProfiler.__init__(self)

            def report_layer_time(self, name: str, milliseconds: float) -> None:
                times.setdefault(name, []).append(milliseconds * 1e-3)

        profiler = Profiler(self._trt)
        self._context.profiler = profiler
        for _ in range(runs + 1):
            self._enqueue()
            self._cuda.wait(self._stream)
        return self._kernels({name: median(t[1:] or t) for name, t in times.items()})

    def _kernels(self, seconds: dict[str, float]) -> tuple[KernelTime, ...]:
        known = {layer.name: layer for layer in self._layers}
        kernels = []
        for name, took in seconds.items():
            layer = known.get(name)
            if layer is None:
                kernels.append(KernelTime((), "", took, None))
            else:
                nodes = self._of_model(layer.nodes)
                converts = layer.kind == REFORMAT
                kernels.append(KernelTime(nodes, layer.kind, took, layer.precision, converts))
        silent = set(self._nodes) - {node for k in kernels for node in k.nodes}
        # What no layer names was fused without a word, or folded away: of unknown precision.
        kernels.append(KernelTime(tuple(sorted(silent)), "", 0.0, None))
        return tuple(kernels)

    def _of_model(self, nodes: Sequence[str]) -> tuple[str, ...]:
        names = frozenset(self._nodes)
        return tuple(n for n in nodes if n in names) if names else tuple(nodes)

    def close(self) -> None:
        """See `precsearch.core.backend.Session.close`."""
        if self._buffers is None:
            return
        self._buffers.close()
        self._buffers = None
        for graph in self._captured.values():
            self._cuda.close_graph(graph)
        self._captured.clear()
        self._context = None
        self._cuda.close_stream(self._stream)
