"""The few calls of the CUDA driver that precsearch makes itself, through ctypes.

Names, types and constants are those of NVIDIA's driver API (``cuda.h``). No package is needed: the
library comes with the driver.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from precsearch.core.errors import DeviceLost, OptionError, OutOfMemory, RunError

__all__ = ["CudaDevice", "CudaDriver", "CudaStream", "cuda_devices"]

_OUT_OF_MEMORY = 2
_LOST = frozenset({700, 702, 709, 710, *range(714, 720)})
"""Errors of a kernel after which the driver refuses all later calls of the process."""
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
_NON_BLOCKING = 1
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """A GPU.

    Attributes:
        index: The number that CUDA gives it.
        name: As the driver gives it.
        compute: Compute capability, such as ``(9, 0)``.
        multiprocessors: How many.
        memory: Bytes.
        driver: The newest CUDA version that the driver runs, such as ``13.0``.
    """

    index: int
    name: str
    compute: tuple[int, int]
    multiprocessors: int
    memory: int
    driver: str


def cuda_devices() -> int:
    """How many GPUs the driver lets this process see; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


class CudaDriver:
    """The driver, with the primary context of one device.

    CUDA's runtime, and so every library that uses it, works in the same context.

    Args:
        index: The number of the device.

    Raises:
        OptionError: There is no driver, or no device of this number.
    """

    def __init__(self, index: int = 0) -> None:
        try:
            self._cuda: Any = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise OptionError("there is no CUDA driver here (libcuda.so.1)") from error
        count = cuda_devices()
        if index >= count:
            raise OptionError(
                f"there is no CUDA device {index}: the driver shows {count} to this process"
            )
        self._index = index
        device = ctypes.c_int(0)
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
        self._device = device
        self._context = ctypes.c_void_p(None)

    def _call(self, name: str, *args: object) -> None:
        status = int(getattr(self._cuda, name)(*args))
        if status == 0:
            return
        text = ctypes.c_char_p(None)
        self._cuda.cuGetErrorName(ctypes.c_int(status), ctypes.byref(text))
        message = f"{name}: {(text.value or str(status).encode()).decode()}"
        if status == _OUT_OF_MEMORY:
            raise OutOfMemory(message)
        raise DeviceLost(message) if status in _LOST else RunError(message)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int(0)
        self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(number), self._device)
        return value.value

    def device(self) -> CudaDevice:
        """What the driver says of the device.

        Raises:
            RunError: The driver does not answer.
        """
        name = ctypes.create_string_buffer(_NAME_BYTES)
        self._call("cuDeviceGetName", name, ctypes.c_int(_NAME_BYTES), self._device)
        memory = ctypes.c_size_t(0)
        self._call("cuDeviceTotalMem_v2", ctypes.byref(memory), self._device)
        version = ctypes.c_int(0)
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return CudaDevice(
            index=self._index,
            name=name.value.decode(errors="replace"),
            compute=(self._attribute(_MAJOR), self._attribute(_MINOR)),
            multiprocessors=self._attribute(_MULTIPROCESSORS),
            memory=memory.value,
            driver=f"{version.value // 1000}.{version.value % 1000 // 10}",
        )

    def _enter(self) -> None:
        """Make the device's primary context the one of this thread."""
        if not self._context:
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        self._call("cuCtxSetCurrent", self._context)

    def stream(self) -> CudaStream:
        """A stream of its own.

        Raises:
            RunError: The driver refuses.
        """
        self._enter()
        handle = ctypes.c_void_p(None)
        self._call("cuStreamCreate", ctypes.byref(handle), ctypes.c_uint(_NON_BLOCKING))
        return CudaStream(self._call, self._enter, handle)


class CudaStream:
    """A stream, and events that time what runs in it. Made by `CudaDriver.stream`."""

    def __init__(
        self, call: Callable[..., None], enter: Callable[[], None], handle: ctypes.c_void_p
    ) -> None:
        self._call = call
        self._enter = enter
        self._handle = handle

    @property
    def address(self) -> int:
        """The handle as a number."""
        return int(self._handle.value or 0)

    def wait(self) -> None:
        """Until all that was put into the stream is done.

        Raises:
            RunError: Something in it failed.
        """
        self._enter()
        self._call("cuStreamSynchronize", self._handle)

    def seconds(self, once: Callable[[], object], repeats: int, together: int = 1) -> list[float]:
        """Device seconds of each of ``repeats`` calls of ``once``, which puts work in the stream.

        Args:
            once: Called ``repeats * together`` times.
            repeats: How many times are taken.
            together: How many calls stand between two events; their mean is taken.

        Raises:
            RunError: Something failed on the device.
        """
        self._enter()
        events = [ctypes.c_void_p(None) for _ in range(repeats + 1)]
        try:
            for event in events:
                self._call("cuEventCreate", ctypes.byref(event), ctypes.c_uint(0))
            self._call("cuEventRecord", events[0], self._handle)
            for event in events[1:]:
                for _ in range(together):
                    once()
                self._call("cuEventRecord", event, self._handle)
            self._call("cuEventSynchronize", events[-1])
            return [s / together for s in self._between(events)]
        finally:
            for event in events:
                if event:
                    self._call("cuEventDestroy_v2", event)

    def _between(self, events: Sequence[ctypes.c_void_p]) -> list[float]:
        times = []
        for before, after in pairwise(events):
            milliseconds = ctypes.c_float(0.0)
            self._call("cuEventElapsedTime", ctypes.byref(milliseconds), before, after)
            times.append(milliseconds.value * 1e-3)
        return times

    def close(self) -> None:
        """Free it."""
        if self._handle:
            self._enter()
            self._call("cuStreamDestroy_v2", self._handle)
            self._handle = ctypes.c_void_p(None)
