"""Device memory of an engine's inputs and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from precsearch.backends.tensorrt.runtime.cuda import Cuda
from precsearch.backends.tensorrt.runtime.growing import Growing, growing
from precsearch.core.backend import Array, Feed
from precsearch.core.errors import RunError

__all__ = ["Buffers"]

_INTEGERS = (np.int32, np.int64)


class Buffers:
    """Inputs and outputs of one execution context, allocated once for each size.

    Args:
        trt: The module.
        cuda: The CUDA runtime.
        engine: Deserialized.
        context: Its context.
        stream: Where copies go.
    """

    def __init__(self, trt: Any, cuda: Cuda, engine: Any, context: Any, stream: Any) -> None:  # noqa: ANN401
        self._trt = trt
        self._cuda = cuda
        self._engine = engine
        self._context = context
        self._stream = stream
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = {n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT}
        self.inputs = tuple(n for n in names if n in inputs)
        self.output_names = tuple(n for n in names if n not in inputs)
        self._kinds = {n: self._kind(n) for n in names}
        self._memory: dict[str, tuple[int, int]] = {}
        self._profile = 0
        self._shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
        self._resident: tuple[int, ...] = ()
        self._growing: Growing | None = None
        self._grow: set[str] = set()

    def _kind(self, name: str) -> np.dtype[Any]:
        kind = self._engine.get_tensor_dtype(name)
        dtype: np.dtype[Any]
        try:
            dtype = np.dtype(self._trt.nptype(kind))
        except TypeError as error:
            raise RunError(
                f"the tensor {name!r} has type {kind}, which NumPy lacks; export the model with "
                "FP32 inputs and outputs"
            ) from error
        return dtype

    def fill(self, feed: Feed) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Copy a feed to the device; returns its shapes. The same arrays are not copied again.

        Raises:
            RunError: An input is missing, or the engine does not take its shape.
        """
        missing = [n for n in self.inputs if n not in feed]
        if missing:
            raise RunError(f"the feed lacks the input {missing[0]!r}")
        shapes = tuple((n, tuple(feed[n].shape)) for n in self.inputs)
        if shapes != self._shapes:
            self._reshape(shapes)
        resident = tuple(id(feed[n]) for n in self.inputs)
        if resident != self._resident:
            self._held = [feed[n] for n in self.inputs]  # an id is only theirs while they live
            for name in self.inputs:
                array = np.ascontiguousarray(_converted(feed[name], self._kinds[name], name))
                self._cuda.upload(self._memory[name][0], array, self._stream)
            self._resident = resident
        return shapes

    def _reshape(self, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
        self._select_profile(dict(shapes))
        for name, shape in shapes:
            if not self._context.set_input_shape(name, shape):
                raise RunError(f"the engine does not take {name!r} of shape {shape}")
        for name in (*self.inputs, *self.output_names):
            shape = tuple(self._context.get_tensor_shape(name))
            if any(d < 0 for d in shape):  # known only after a run
                self._let_grow(name)
                continue
            address = self._reserve(name, int(np.prod(shape, dtype=np.int64)))
            if not self._context.set_tensor_address(name, address):
                raise RunError(f"the engine does not take a buffer for {name!r}")
        self._shapes, self._resident = shapes, ()

    def _let_grow(self, name: str) -> None:
        if self._growing is None:
            self._growing = growing(self._trt, self._cuda)
        if not self._context.set_output_allocator(name, self._growing):
            raise RunError(
                f"the size of the output {name!r} depends on data, and the engine takes no "
                "allocator for it"
            )
        self._grow.add(name)

    def _select_profile(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """The first optimization profile that the shapes fit."""
        for index in range(self._engine.num_optimization_profiles):
            ranges = {n: self._engine.get_tensor_profile_shape(n, index) for n in self.inputs}
            if all(_within(shapes[n], low, high) for n, (low, _, high) in ranges.items()):
                if index != self._profile:
                    self._context.set_optimization_profile_async(index, int(self._stream))
                    self._cuda.wait(self._stream)
                    self._profile = index
                return
        raise RunError(f"the engine was not built for the shapes {shapes}")

    def _reserve(self, name: str, count: int) -> int:
        size = max(1, count * self._kinds[name].itemsize)
        address, held = self._memory.get(name, (0, 0))
        if held < size:
            if held:
                self._cuda.free(address)
            address = self._cuda.allocate(size)
            self._memory[name] = (address, size)
        return address

    def outputs(self) -> dict[str, Array]:
        """What the last run wrote, copied from the device."""
        outputs: dict[str, Array] = {}
        if self._grow:
            self._cuda.wait(self._stream)  # before that, shapes are those of the last run
        for name in self.output_names:
            shape, address = self._place(name)
            array = np.empty(shape, self._kinds[name])
            if array.size or name not in self._grow:
                self._cuda.download(array, address, self._stream)
            outputs[name] = array
        return outputs

    def _place(self, name: str) -> tuple[tuple[int, ...], int]:
        """Shape and address of an output of the last run."""
        if self._growing is None or name not in self._grow:
            return tuple(self._context.get_tensor_shape(name)), self._memory[name][0]
        if name not in self._growing.shapes:
            raise RunError(f"TensorRT does not tell how large the output {name!r} is")
        return self._growing.shapes[name], self._growing.held.get(name, (0, 0))[0]

    def close(self) -> None:
        """Give the memory back."""
        for address, _ in self._memory.values():
            self._cuda.free(address)
        self._memory.clear()
        if self._growing is not None:
            for address, _ in self._growing.held.values():
                self._cuda.free(address)
            self._growing.held.clear()


def _within(shape: tuple[int, ...], low: Any, high: Any) -> bool:  # noqa: ANN401
    least, most = tuple(low), tuple(high)
    if len(least) != len(shape):  # the empty shape of an input that is not dynamic
        return True
    return all(a <= d <= b for a, d, b in zip(least, shape, most, strict=True))


def _converted(array: Array, kind: np.dtype[Any], name: str) -> Array:
    """``array`` as the engine takes it: before 10, TensorRT has no 64-bit integers."""
    if array.dtype == kind:
        return array
    if array.dtype in _INTEGERS and kind in _INTEGERS:
        limits = np.iinfo(kind)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise RunError(f"the input {name!r} holds integers beyond {kind}")
        return array.astype(kind)
    raise RunError(f"the input {name!r} is {array.dtype}, the engine takes {kind}")
