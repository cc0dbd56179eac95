"""What a model's inputs look like, and which axis of them is the batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx

from precsearch.core.errors import ModelError, OptionError

__all__ = [
    "LABELS",
    "REFERENCE",
    "BatchAxis",
    "InputSpec",
    "batch_axis",
    "input_specs",
    "is_sequence",
    "resolve",
]

LABELS = "labels"
"""Name of the labels among the arrays of a feed."""
REFERENCE = "__ref__"
"""What the name of an output's own reference begins with among them."""

_SEQUENCE = re.compile(r"seq|len|token|time|frame")
_NO_NAME = re.compile(r"[?*_.\s-]*|-1|None|unknown", re.IGNORECASE)
"""What exporters write where they know no name: two such dimensions are not one and the same."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: Its tensor name.
        dtype: What it holds.
        dims: A number where the model fixes the dimension, its symbol where it is dynamic, ``None``
            where it is dynamic and has no name. ``None`` as a whole where even the rank is unknown.
    """

    name: str
    dtype: np.dtype[np.generic]
    dims: tuple[int | str | None, ...] | None

    @classmethod
    def of(cls, value: onnx.ValueInfoProto) -> InputSpec:
        """From a graph input.

        Raises:
            ModelError: It is no tensor of numbers (a sequence, an optional, strings).
        """
        tensor = value.type.tensor_type
        if value.type.WhichOneof("value") != "tensor_type" or tensor.elem_type in (
            onnx.TensorProto.UNDEFINED,
            onnx.TensorProto.STRING,
        ):
            raise ModelError(
                f"input {value.name!r} is not a tensor of numbers; export the model with numeric "
                "tensors as inputs"
            )
        dtype: npt.DTypeLike = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        dims = tuple(map(_dim, tensor.shape.dim)) if tensor.HasField("shape") else None
        return cls(value.name, np.dtype(dtype), dims)

    def __str__(self) -> str:
        if self.dims is None:
            return f"{self.name!r} ({self.dtype}, any shape)"
        inner = ", ".join("?" if d is None else str(d) for d in self.dims)
        return f"{self.name!r} ({self.dtype} [{inner}])"

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape may be fed; dynamic dimensions take any size."""
        if self.dims is None:
            return True
        return len(shape) == len(self.dims) and all(
            not isinstance(d, int) or d == n for d, n in zip(self.dims, shape, strict=True)
        )


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    # Some exporters write 0 or -1 for a dynamic dimension.
    if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0:
        return int(dim.dim_value)
    return None if _NO_NAME.fullmatch(dim.dim_param) else dim.dim_param


def input_specs(inputs: Iterable[onnx.ValueInfoProto]) -> tuple[InputSpec, ...]:
    """The specs of a graph's inputs (`GraphView.inputs`), in order.

    Raises:
        ModelError: One of them is no tensor of numbers.
    """
    return tuple(InputSpec.of(value) for value in inputs)


def resolve(
    specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[InputSpec, ...]:
    """The specs with the shapes that the user fixed; a symbol that this binds is bound everywhere.

    Raises:
        OptionError: A shape names an unknown input, contradicts the model or another shape.
    """
    known = {s.name: s for s in specs}
    bound: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in known:
            raise OptionError(
                f"--input-shape names {name!r}, but the model's inputs are {', '.join(known)}"
            )
        spec = known[name]
        if any(n < 0 for n in shape) or not spec.fits(shape):
            raise OptionError(
                f"--input-shape {name}:{'x'.join(map(str, shape))} does not fit input {spec}"
            )
        for dim, size in zip(spec.dims or (), shape, strict=False):
            if isinstance(dim, str) and bound.setdefault(dim, size) != size:
                raise OptionError(
                    f"--input-shape makes the dimension {dim!r} both {bound[dim]} and {size}; "
                    "give it one size"
                )
    return tuple(
        replace(s, dims=shapes[s.name] if s.name in shapes else _bind(s.dims, bound)) for s in specs
    )


def _bind(
    dims: tuple[int | str | None, ...] | None, bound: Mapping[str, int]
) -> tuple[int | str | None, ...] | None:
    if dims is None:
        return None
    return tuple(bound.get(d, d) if isinstance(d, str) else d for d in dims)


@dataclass(frozen=True)
class BatchAxis:
    """Whether axis 0 of every input is the batch.

    Attributes:
        fixed: The batch size where the model fixes it.
        symbol: The batch's symbol where it has one; also where some input has it on another axis.
        offender: An input that does not start with the batch; ``None`` if all do.
    """

    fixed: int | None = None
    symbol: str | None = None
    offender: InputSpec | None = None


def _is_batch(symbol: str) -> bool:
    return "batch" in symbol.lower() or symbol.lower() in ("n", "b", "bs")


def is_sequence(symbol: str) -> bool:
    """Whether a dimension's name says that it is a length of time or text."""
    return not _is_batch(symbol) and _SEQUENCE.search(symbol.lower()) is not None


def batch_axis(specs: Sequence[InputSpec]) -> BatchAxis:
    """Judge from names and sizes whether axis 0 is the batch in all inputs."""
    shaped = [s for s in specs if s.dims is not None]
    inner = {d for s in shaped for d in (s.dims or ())[1:] if isinstance(d, str)}
    leads = [(s, s.dims[0] if s.dims else None) for s in shaped]
    numbers = {d for _, d in leads if isinstance(d, int)}
    symbols = {d for _, d in leads if isinstance(d, str)}
    elsewhere = any(map(_is_batch, inner)) or (len(symbols) > 1 and bool(symbols & inner))
    named = next((d for d in sorted(inner | symbols) if _is_batch(d)), None)
    for spec, lead in leads:
        number_among_dynamic = isinstance(lead, int) and len(numbers) < len({d for _, d in leads})
        named_otherwise = isinstance(lead, str) and (
            is_sequence(lead) or (elsewhere and not _is_batch(lead) and lead not in inner)
        )
        if not spec.dims or number_among_dynamic or named_otherwise:
            return BatchAxis(symbol=named, offender=spec)
    if len(numbers) > 1:
        return BatchAxis(symbol=named, offender=next(s for s, d in leads if d != leads[0][1]))
    symbol = next((d for _, d in leads if isinstance(d, str)), None)
    return BatchAxis(fixed=next(iter(numbers), None), symbol=symbol)
