"""The few calls of the CUDA runtime that running an engine needs, through cuda-bindings."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from precsearch.core.backend import Array
from precsearch.core.errors import OptionError, RunError

__all__ = ["Cuda", "Device"]


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU.

    Attributes:
        name: As the driver gives it.
        compute: Compute capability, such as ``9.0``.
        multiprocessors: How many.
        memory: Bytes.
        driver: The newest CUDA version that the driver runs, such as ``13.0``.
        runtime: Version of the CUDA runtime in use.
    """

    name: str
    compute: str
    multiprocessors: int
    memory: int
    driver: str
    runtime: str


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


_NO_GPU = ("cudaErrorInsufficientDriver", "cudaErrorNoDevice")
"""No driver, one that is too old for the runtime, or no device."""


class Cuda:
    """The CUDA runtime; every error is a `RunError`, out of memory a `MemoryError`.

    Raises:
        OptionError: cuda-bindings is not installed, or does not load.
    """

    def __init__(self) -> None:
        try:
            self._rt: Any = importlib.import_module("cuda.bindings.runtime")
        except ModuleNotFoundError as error:
            raise OptionError(
                "measuring on an NVIDIA GPU needs cuda-bindings: pip install cuda-bindings"
            ) from error
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
            raise OptionError(
                f"cuda-bindings does not load ({reason}); update the driver"
            ) from error

    def _call(self, name: str, *args: Any) -> Any:  # noqa: ANN401 - the bindings have no types
        status, *values = getattr(self._rt, name)(*args)
        if status != self._rt.cudaError_t.cudaSuccess:
            text = f"{name}: {status.name}"
            if status == self._rt.cudaError_t.cudaErrorMemoryAllocation:
                raise MemoryError(text)
            raise RunError(text)
        return values[0] if len(values) == 1 else values

    def device(self) -> Device:
        """The device in use.

        Raises:
            OptionError: There is none, or the driver is too old.
        """
        try:
            properties = self._call("cudaGetDeviceProperties", self._call("cudaGetDevice"))
        except RunError as error:
            if str(error).endswith(_NO_GPU):
                raise OptionError(f"no NVIDIA GPU can be used here ({error})") from error
            raise
        name = (
            properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        )
        return Device(
            name=name.rstrip("\0"),
            compute=f"{properties.major}.{properties.minor}",
            multiprocessors=int(properties.multiProcessorCount),
            memory=int(properties.totalGlobalMem),
            driver=_version(self._call("cudaDriverGetVersion")),
            runtime=_version(self._call("cudaRuntimeGetVersion")),
        )

    # -- memory -----------------------------------------------------------------------------

    def allocate(self, size: int) -> int:
        """Device memory; its address."""
        return int(self._call("cudaMalloc", max(size, 1)))

    def free(self, address: int) -> None:
        """Give it back."""
        self._call("cudaFree", address)

    def upload(self, address: int, array: Array, stream: Any) -> None:  # noqa: ANN401
        """Copy to the device; returns when it is there."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)
        self.wait(stream)

    def download(self, array: Array, address: int, stream: Any) -> None:  # noqa: ANN401
        """Fill ``array`` from the device."""
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)
        self.wait(stream)

    # -- streams, events, graphs ------------------------------------------------------------

    def stream(self) -> Any:  # noqa: ANN401
        """A stream of its own."""
        flag = self._rt.cudaStreamNonBlocking
        return self._call("cudaStreamCreateWithFlags", flag)

    def wait(self, stream: Any) -> None:  # noqa: ANN401
        """Until all that was put into the stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def close_stream(self, stream: Any) -> None:  # noqa: ANN401
        """Give it back."""
        self._call("cudaStreamDestroy", stream)

    def events(self, count: int) -> list[Any]:
        """Events that take the time."""
        return [self._call("cudaEventCreate") for _ in range(count)]

    def record(self, event: Any, stream: Any) -> None:  # noqa: ANN401
        """Let the event happen when the stream gets there."""
        self._call("cudaEventRecord", event, stream)

    def seconds(self, events: Sequence[Any]) -> list[float]:
        """Device seconds between one event and the next."""
        self._call("cudaEventSynchronize", events[-1])
        return [float(self._call("cudaEventElapsedTime", a, b)) * 1e-3 for a, b in pairwise(events)]

    def close_events(self, events: Sequence[Any]) -> None:
        """Give them back."""
        for event in events:
            self._call("cudaEventDestroy", event)

    def begin_capture(self, stream: Any) -> None:  # noqa: ANN401
        """Record what is put into the stream instead of running it."""
        mode = self._rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Any) -> Any:  # noqa: ANN401
        """The recorded graph, ready to launch."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:  # noqa: ANN401
        """Run a recorded graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def close_graph(self, graph: Any) -> None:  # noqa: ANN401
        """Give it back."""
        self._call("cudaGraphExecDestroy", graph)
