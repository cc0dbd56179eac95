"""A node of constants, as the kernels that evaluate it see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

__all__ = ["Array", "Call", "Kernel", "Unfoldable"]

Array = npt.NDArray[np.generic]


class Unfoldable(Exception):  # noqa: N818 - no error: the node stays in the model as it is
    """A node of constants is not evaluated; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Call:
    """A node whose inputs are constants.

    Attributes:
        node: The node.
        opset: Version of the default operator set.
        tensors: Its inputs; ``None`` where an optional one is absent. External data is read when
            `array` asks for it.
    """

    node: ir.Node
    opset: int
    tensors: tuple[ir.TensorProtocol | None, ...]

    def has(self, slot: int) -> bool:
        """Whether an optional input is given."""
        return slot < len(self.tensors) and self.tensors[slot] is not None

    def tensor(self, slot: int) -> ir.TensorProtocol:
        """One input, not read yet.

        Raises:
            Unfoldable: The input is absent.
        """
        tensor = self.tensors[slot] if slot < len(self.tensors) else None
        if tensor is None:
            raise Unfoldable(f"input {slot} is missing")
        return tensor

    def array(self, slot: int = 0) -> Array:
        """The values of one input.

        Raises:
            Unfoldable: The input is absent.
        """
        return np.asarray(self.tensor(slot).numpy())

    def arrays(self) -> list[Array]:
        """The values of all inputs that are given."""
        return [self.array(i) for i in range(len(self.tensors)) if self.has(i)]

    def shape(self, slot: int = 0) -> tuple[int, ...]:
        """The shape of one input.

        Raises:
            Unfoldable: The input is absent.
        """
        return tuple(int(d) for d in self.tensor(slot).shape.numpy())

    def integer(self, name: str, default: int) -> int:
        """An integer attribute or its default."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else int(attribute.as_int())

    def text(self, name: str, default: str) -> str:
        """A string attribute or its default."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else str(attribute.as_string())

    def listed(self, name: str, slot: int = -1) -> list[int] | None:
        """Integers that are an attribute in older operator sets and an input in newer ones."""
        attribute = self.node.attributes.get(name)
        if attribute is not None:
            return [int(v) for v in attribute.as_ints()]
        if slot >= 0 and self.has(slot):
            return [int(v) for v in self.array(slot).reshape(-1)]
        return None


Kernel = Callable[[Call], Sequence[Array]]
"""Evaluates a call.

Raises `Unfoldable` where the result is not the same on every machine, or the node is malformed.
"""
