"""Outputs whose size is known only after an engine has run: boxes, non-zero positions."""

from __future__ import annotations

from typing import Any, Protocol

from precsearch.backends.tensorrt.runtime.cuda import Cuda
from precsearch.core.errors import RunError

__all__ = ["Growing", "growing"]


class Growing(Protocol):
    """Memory of such outputs, which TensorRT asks for while it runs.

    Attributes:
        held: Output name → address and bytes.
        shapes: Output name → shape in the last run.
    """

    held: dict[str, tuple[int, int]]
    shapes: dict[str, tuple[int, ...]]


def growing(trt: Any, cuda: Cuda) -> Growing:  # noqa: ANN401 - TensorRT's bindings have no types
    """An output allocator: TensorRT's class for this, which must be subclassed."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.held: dict[str, tuple[int, int]] = {}
            self.shapes: dict[str, tuple[int, ...]] = {}

        def reallocate_output(
            self,
            tensor_name: str,
            memory: Any,  # noqa: ANN401
            size: int,
            alignment: int,
        ) -> int:
            address, had = self.held.get(tensor_name, (0, 0))
            if had >= size and address:
                return address
            buffer = _moved(cuda, address, max(1, size))
            if buffer:
                self.held[tensor_name] = buffer, max(1, size)
            return buffer

        def reallocate_output_async(
            self,
            tensor_name: str,
            memory: Any,  # noqa: ANN401
            size: int,
            alignment: int,
            stream: Any,  # noqa: ANN401
        ) -> int:
            # TensorRT 10 and newer call this one.
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:  # noqa: ANN401
            self.shapes[tensor_name] = tuple(int(d) for d in shape)

    buffer: Growing = Allocator()
    return buffer


def _moved(cuda: Cuda, address: int, size: int) -> int:
    """Memory of ``size`` bytes instead of that at ``address``; 0 if there is none.

    No address is how TensorRT learns of it.
    """
    try:
        buffer = cuda.allocate(size)
    except (RunError, MemoryError):
        return 0
    if address:
        cuda.free(address)
    return buffer
