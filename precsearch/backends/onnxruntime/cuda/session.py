"""An engine of ONNX Runtime in device memory, timed there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from precsearch.backends.onnxruntime.cuda.bound import BoundTensors, Shape, shape_of
from precsearch.backends.onnxruntime.cuda.provider import CUDA, Provider, build_error, run_error
from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.errors import RunError
from precsearch.reference.session import first_line, ort_errors

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["Clock", "DeviceSession", "HostClock", "Profiler"]

_SHORT_S = 50e-6
"""An engine that takes less is run several times between two readings of the clock."""
_MOST_AT_ONCE = 16
_MOST_GRAPHS = 8
"""Shapes of input of which a graph is kept; each keeps its memory."""

Open = Callable[[bool], "ort.InferenceSession"]
Profiler = Callable[[Feed, int], tuple[KernelTime, ...]]


class Clock(Protocol):
    """Times what is put on a device."""

    waits: bool
    """Whether each run must wait for the device to be timed."""

    def seconds(
        self, once: Callable[[], object], repeats: int, together: int = 1, /
    ) -> list[float]:
        """Seconds of each of ``repeats`` readings, each the mean of ``together`` calls."""
        ...


class HostClock:
    """The clock of the CPU, around runs that wait for the device."""

    waits = True

    def seconds(
        self, once: Callable[[], object], repeats: int, together: int = 1, /
    ) -> list[float]:
        """See `Clock.seconds`."""
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            for _ in range(together):
                once()
            times.append((time.perf_counter() - start) / together)
        return times


class DeviceSession:
    """A session whose inputs and outputs stay on the device. Not thread-safe.

    Inputs are copied to the device before the clock starts, outputs after it has stopped.

    Args:
        open_session: Opens a session, with or without the capture of a CUDA graph; raises one of
            `precsearch.reference.session.ort_errors`.
        clock: Times it.
        graphs: Whether to run it as a CUDA graph.
        provider: Whose memory the tensors are kept in.
        device: The number of the device.
        profiler: Profiles the same model, if that was asked for.
        tell: Is told why no graph was captured.

    Raises:
        BuildError: ONNX Runtime refuses the model.
        OutOfMemory: The device has too little memory.
    """

    def __init__(
        self,
        open_session: Open,
        clock: Clock,
        *,
        graphs: bool,
        provider: Provider = CUDA,
        device: int = 0,
        profiler: Profiler | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._open, self._clock, self._tell = open_session, clock, tell
        self._provider, self._device, self._profiler = provider, device, profiler
        self._graphs = graphs
        self._session: ort.InferenceSession | None = self._opened()
        self._bound: dict[Shape, BoundTensors] = {}
        self._captured: dict[Shape, int] = {}
        self._at_once: dict[Shape, int] = {}

    def _opened(self) -> ort.InferenceSession:
        errors = ort_errors()
        if self._graphs:
            try:
                return self._open(True)
            except errors as error:
                self._graphs = False
                why = first_line(error)
        else:
            why = ""
        try:
            session = self._open(False)
        except errors as error:
            raise build_error(error) from error
        if why:
            self._tell(_NO_GRAPH.format(why=why))
        return session

    def _ready(self) -> ort.InferenceSession:
        if self._session is None:
            raise RunError("the session is closed")
        return self._session

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `precsearch.core.backend.Session.run`."""
        try:
            shape, bound = self._filled(feed)
            self._once(bound, self._run_options(shape, waits=True))
            return bound.values()
        except ort_errors() as error:
            raise run_error(error) from error

    def time(self, feed: Feed, repeats: int) -> list[float]:
        """See `precsearch.core.backend.Session.time`."""
        try:
            shape, bound = self._filled(feed)
            if shape not in self._at_once:
                shape, bound = self._warmed(feed)
            options = self._run_options(shape, waits=self._clock.waits)
            together = self._at_once[shape]
            return self._clock.seconds(lambda: self._once(bound, options), repeats, together)
        except ort_errors() as error:
            raise run_error(error) from error

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """See `precsearch.core.backend.Session.profile`."""
        return () if self._profiler is None else self._profiler(feed, runs)

    def close(self) -> None:
        """See `precsearch.core.backend.Session.close`."""
        self._bound.clear()
        self._session = None

    def _filled(self, feed: Feed) -> tuple[Shape, BoundTensors]:
        session = self._ready()
        shape = shape_of([i.name for i in session.get_inputs()], feed)
        bound = self._bound.get(shape)
        if bound is None:
            bound = BoundTensors(session, feed, self._provider, self._device)
            self._bound[shape] = bound
        bound.fill(feed)
        return shape, bound

    def _once(self, bound: BoundTensors, options: Any) -> None:  # noqa: ANN401 - has no types
        self._ready().run_with_iobinding(bound.binding, options)

    def _run_options(self, shape: Shape, *, waits: bool) -> Any:  # noqa: ANN401 - has no types
        import onnxruntime as ort

        options = ort.RunOptions()
        options.log_severity_level = 4
        if not waits:
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if self._graphs:
            options.add_run_config_entry("gpu_graph_id", str(self._captured.get(shape, -1)))
        return options

    def _warmed(self, feed: Feed) -> tuple[Shape, BoundTensors]:
        """Run it, capture it as a graph, and find out how many runs make a time worth taking."""
        shape, bound = self._filled(feed)
        plain = self._run_options(shape, waits=True)
        for _ in range(2):  # cuDNN chooses its kernels in the first run; memory is settled then
            self._once(bound, plain)
        if self._graphs and bound.on_device and len(self._captured) < _MOST_GRAPHS:
            shape, bound = self._capture(shape, bound, feed)
        options = self._run_options(shape, waits=self._clock.waits)
        first = median(self._clock.seconds(lambda: self._once(bound, options), 5, 1))
        few = math.ceil(_SHORT_S / max(first, _SHORT_S / _MOST_AT_ONCE))
        self._at_once[shape] = max(1, min(_MOST_AT_ONCE, few))
        return shape, bound

    def _capture(self, shape: Shape, bound: BoundTensors, feed: Feed) -> tuple[Shape, BoundTensors]:
        """Record a run; where that fails, open the session anew without graphs."""
        bound.fixed = True
        self._captured[shape] = len(self._captured) + 1
        try:
            self._once(bound, self._run_options(shape, waits=True))
        except ort_errors() as error:
            self._tell(_NO_GRAPH.format(why=first_line(error)))
            self._graphs = False
            self.close()
            self._captured.clear()
            self._at_once.clear()
            self._session = self._opened()
            return self._filled(feed)
        return shape, bound


_NO_GRAPH = "the engine is timed without a CUDA graph, launch by launch: {why}"
