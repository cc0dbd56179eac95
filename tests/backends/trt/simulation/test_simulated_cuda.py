"""The calls of the CUDA runtime, simulated with the host's memory."""

from __future__ import annotations

import ctypes
import enum
import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from precsearch.backends.tensorrt.runtime.cuda import Cuda
from precsearch.core.errors import OptionError, RunError

Status = enum.IntEnum(
    "Status",
    {"cudaSuccess": 0, "cudaErrorMemoryAllocation": 2, "cudaErrorNoDevice": 100},
)
SUCCESS, MEMORY, NO_DEVICE = Status


class Runtime:
    """What ``cuda.bindings.runtime`` offers.

    Attributes:
        calls: Function and arguments of every call.
        failing: Function → the error that it ends with.
        name: The device's.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failing: dict[str, Status] = {}
        self.name: bytes | str = b"A device\0\0"
        self._memory: dict[int, Any] = {}
        self._constants: dict[str, Any] = {
            "cudaError_t": Status,
            "cudaStreamNonBlocking": 1,
            "cudaMemcpyKind": SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
            "cudaStreamCaptureMode": SimpleNamespace(cudaStreamCaptureModeThreadLocal=1),
        }
        self._answers: dict[str, Callable[..., Any]] = {
            "cudaMalloc": self._allocated,
            "cudaMemcpyAsync": self._copied,
            "cudaGetDevice": lambda: 0,
            "cudaGetDeviceProperties": lambda _: SimpleNamespace(
                name=self.name, major=9, minor=0, multiProcessorCount=132, totalGlobalMem=1000
            ),
            "cudaDriverGetVersion": lambda: 13010,
            "cudaRuntimeGetVersion": lambda: 12080,
            "cudaStreamCreateWithFlags": lambda _: "stream",
            "cudaEventCreate": lambda: len(self.calls),
            "cudaEventElapsedTime": lambda first, second: 0.25 * (second - first),
            "cudaStreamEndCapture": lambda _: "graph",
            "cudaGraphInstantiate": lambda graph, _: f"executable {graph}",
        }

    def _allocated(self, size: int) -> int:
        buffer = ctypes.create_string_buffer(size)
        self._memory[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def _copied(self, to: int, source: int, size: int, kind: int, stream: Any) -> None:
        ctypes.memmove(to, source, size)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        if name in self._constants:
            return self._constants[name]

        def call(*args: Any) -> tuple[Any, ...]:
            self.calls.append((name, *args))
            if name in self.failing:
                return (self.failing[name],)
            answer = self._answers.get(name)
            found = None if answer is None else answer(*args)
            return (SUCCESS,) if found is None else (SUCCESS, found)

        return call


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setattr(importlib, "import_module", lambda name: made)
    return made


def names(runtime: Runtime) -> list[str]:
    return [call[0] for call in runtime.calls]


@pytest.mark.parametrize("name", [b"A device\0\0", "A device"])
def test_the_device_is_described(runtime: Runtime, name: bytes | str) -> None:
    runtime.name = name
    found = Cuda().device()
    assert (found.name, found.compute, found.multiprocessors) == ("A device", "9.0", 132)
    assert (found.driver, found.runtime, found.memory) == ("13.1", "12.8", 1000)


def test_no_device_is_said_as_such(runtime: Runtime) -> None:
    runtime.failing["cudaGetDevice"] = NO_DEVICE
    with pytest.raises(OptionError, match=r"no NVIDIA GPU .* \(cudaGetDevice: cudaErrorNoDevice\)"):
        Cuda().device()
    runtime.failing["cudaGetDevice"] = MEMORY
    with pytest.raises(MemoryError):
        Cuda().device()


def test_uploaded_arrays_are_downloaded_unchanged(runtime: Runtime) -> None:
    cuda = Cuda()
    stream = cuda.stream()
    sent, back = np.arange(6, dtype=np.float32), np.empty(6, np.float32)
    address = cuda.allocate(sent.nbytes)
    cuda.upload(address, sent, stream)
    cuda.download(back, address, stream)
    np.testing.assert_array_equal(back, sent)
    assert names(runtime)[-4:] == ["cudaMemcpyAsync", "cudaStreamSynchronize"] * 2
    cuda.free(address)
    assert runtime.calls[-1] == ("cudaFree", address)
    cuda.allocate(0)
    assert runtime.calls[-1] == ("cudaMalloc", 1), "an empty tensor has an address, too"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(MEMORY, MemoryError), (NO_DEVICE, RunError)],
)
def test_too_little_memory_has_an_error_of_its_own(
    runtime: Runtime, status: Status, kind: type[Exception]
) -> None:
    runtime.failing["cudaMalloc"] = status
    with pytest.raises(kind, match=f"cudaMalloc: {status.name}"):
        Cuda().allocate(8)


def test_times_are_measured_between_events(runtime: Runtime) -> None:
    cuda = Cuda()
    events = cuda.events(3)
    for event in events:
        cuda.record(event, "stream")
    assert cuda.seconds(events) == [0.25e-3] * 2
    at = names(runtime).index("cudaEventSynchronize")
    assert runtime.calls[at] == ("cudaEventSynchronize", events[-1])
    cuda.close_events(events)
    assert runtime.calls[-3:] == [("cudaEventDestroy", e) for e in events]


@pytest.mark.parametrize("fails", [False, True])
def test_a_recorded_graph_is_always_released(runtime: Runtime, fails: bool) -> None:
    cuda = Cuda()
    cuda.begin_capture("stream")
    if fails:
        runtime.failing["cudaGraphInstantiate"] = NO_DEVICE
        with pytest.raises(RunError, match="cudaGraphInstantiate"):
            cuda.end_capture("stream")
    else:
        graph = cuda.end_capture("stream")
        cuda.launch(graph, "stream")
        cuda.close_graph(graph)
        assert ("cudaGraphLaunch", "executable graph", "stream") in runtime.calls
        assert runtime.calls[-1] == ("cudaGraphExecDestroy", "executable graph")
    cuda.close_stream("stream")
    assert ("cudaGraphDestroy", "graph") in runtime.calls
    assert runtime.calls[-1] == ("cudaStreamDestroy", "stream")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("cuda"), "needs cuda-bindings: pip install"),
        (ImportError("libcudart:\n too old"), r"does not load \(libcudart: too old\); update the"),
    ],
)
def test_bindings_that_do_not_load_say_why(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> Any:
        raise error

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(OptionError, match=said):
        Cuda()
