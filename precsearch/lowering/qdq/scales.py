"""Ranges of activations, and the scales and zero points that cover them.

Everything here uses only + - x / abs max rint and casts on IEEE types, so that the same inputs give
the same bytes with every version of Python and NumPy. The affine mapping is that of ONNX
QuantizeLinear: q = saturate(rint(x / scale) + zero_point).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from precsearch.core.errors import ModelError, PlanError
from precsearch.core.formats import FLOAT16
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, TensorFormat
from precsearch.lowering.qdq.shifts import NO_SHIFTS, Shifts
from precsearch.lowering.tensor_names import scale_key

__all__ = [
    "MIN_SCALE",
    "FixedScales",
    "QuantParams",
    "RangeScales",
    "ScaleSource",
    "TensorRange",
    "Tie",
    "fits_half",
    "round_up_to_half",
    "stored_scale",
]

MIN_HALF_SCALE = np.float32(FLOAT16.smallest_normal)
"""The smallest normal FP16: below it a scale loses digits, and at 0 TensorRT refuses to parse."""

MIN_SCALE = np.float32(2.0**-100)
"""Keeps x / scale finite for a tensor that was constantly zero."""


@dataclass(frozen=True, slots=True)
class TensorRange:
    """Lowest and highest value of a tensor over the calibration samples, after the method's cut."""

    low: float
    high: float

    def union(self, other: TensorRange) -> TensorRange:
        """The range that holds both."""
        return TensorRange(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True, slots=True)
class QuantParams:
    """Scale (an FP32 value) and zero point of one tensor."""

    scale: float
    zero_point: int

    @classmethod
    def of(cls, tensor_range: TensorRange, stored_as: TensorFormat) -> QuantParams:
        """The parameters that cover a range, zero included exactly.

        ``uint8``: (high - low) / 255, asymmetric. Symmetric formats: max(|low|, |high|) over the
        largest value, 127 for ``int8`` and 448 for ``float8e4m3``.
        """
        largest = np.float32(stored_as.largest)
        low, high = np.float32(min(tensor_range.low, 0.0)), np.float32(max(tensor_range.high, 0.0))
        if stored_as.symmetric:
            return cls(float(max(max(-low, high) / largest, MIN_SCALE)), 0)
        # In two halves: high - low overflows for a range as wide as FP32 itself.
        scale = max(high / largest - low / largest, MIN_SCALE)
        return cls(float(scale), int(np.rint(-low / scale)))


@dataclass(frozen=True, slots=True)
class Tie:
    """Two tensors that should share their scale and zero point.

    Attributes:
        a, b: The tensors.
        exact: They hold the same values (a reshaped tensor), rather than meeting in a Concat.
    """

    a: str
    b: str
    exact: bool


class _Classes:
    """Union-find over tensors that share a scale."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, tensor: str) -> str:
        parent = self._parent.setdefault(tensor, tensor)
        if parent != tensor:
            self._parent[tensor] = parent = self.root(parent)
        return parent

    def join(self, a: str, b: str) -> None:
        self._parent[self.root(b)] = self.root(a)

    def members(self) -> Iterator[list[str]]:
        members: dict[str, list[str]] = {}
        for tensor in sorted(self._parent):
            members.setdefault(self.root(tensor), []).append(tensor)
        yield from members.values()


class ScaleSource(Protocol):
    """Where a lowering takes its activation scales from."""

    def assign(
        self,
        tensors: Collection[str],
        ties: Sequence[Tie],
        precision: Precision = Precision.INT8,
    ) -> dict[str, QuantParams]:
        """The parameters of every tensor, by name.

        Args:
            tensors: The tensors to quantize.
            ties: Pairs of them that should share their parameters.
            precision: What they are quantized to.

        Raises:
            PrecsearchError: A tensor's scale is not known.
        """
        ...


class RangeScales:
    """Scales from calibrated ranges, used while searching.

    Args:
        ranges: Tensor name → range.
        scheme: How the backend quantizes activations.
        shifts: See `precsearch.lowering.qdq.shifts`.
        dynamic: See `precsearch.lowering.qdq.dynamic`.
    """

    def __init__(
        self,
        ranges: Mapping[str, TensorRange],
        scheme: QuantScheme,
        shifts: Shifts = NO_SHIFTS,
        dynamic: frozenset[str] = frozenset(),
    ) -> None:
        self.dynamic = dynamic
        self._ranges = ranges
        self._scheme = scheme
        self.shifts = shifts

    def shifted(self, shifts: Shifts) -> RangeScales:
        """The same ranges with other shifts."""
        return RangeScales(self._ranges, self._scheme, shifts, self.dynamic)

    def measured(self, dynamic: frozenset[str]) -> RangeScales:
        """The same ranges, of which some products do without."""
        return RangeScales(self._ranges, self._scheme, self.shifts, dynamic)

    def assign(
        self,
        tensors: Collection[str],
        ties: Sequence[Tie],
        precision: Precision = Precision.INT8,
    ) -> dict[str, QuantParams]:
        """See `ScaleSource.assign`. Tied tensors get the union of their ranges.

        With asymmetric activations, a tie of equals (`Tie.exact` false) is not made between a
        tensor that is never negative and one that is: the zero point of the former must stay 0, or
        the engine can no longer fuse the Relu before it into the quantization.

        Raises:
            ModelError: A tensor was not calibrated.
        """
        stored_as = self._scheme.activation(precision)
        classes = _Classes()
        for tensor in sorted(tensors):
            classes.root(tensor)
        for tie in ties:
            if tie.exact or stored_as.symmetric or self._signed(tie.a) == self._signed(tie.b):
                classes.join(tie.a, tie.b)
        params: dict[str, QuantParams] = {}
        for members in classes.members():
            ranges = [self._ranges[t] for t in members if t in self._ranges]
            if not ranges:
                name = precision.value.upper()
                raise ModelError(
                    f"tensor {members[0]!r} was not calibrated, so {name} has no scale"
                )
            first = ranges[0]
            for other in ranges[1:]:
                first = first.union(other)
            params.update(dict.fromkeys(members, QuantParams.of(first, stored_as)))
        return params

    def _signed(self, tensor: str) -> bool:
        tensor_range = self._ranges.get(tensor)
        return tensor_range is None or tensor_range.low < 0


_EDITED = "it was edited: restore it or make it again with 'precsearch optimize'"


class FixedScales:
    """Scales from a plan, used on replay."""

    def __init__(
        self,
        params: Mapping[str, QuantParams],
        shifts: Shifts = NO_SHIFTS,
        dynamic: frozenset[str] = frozenset(),
    ) -> None:
        self.dynamic = dynamic
        self._params = params
        self.shifts = shifts

    def assign(
        self,
        tensors: Collection[str],
        ties: Sequence[Tie],
        precision: Precision = Precision.INT8,
    ) -> dict[str, QuantParams]:
        """See `ScaleSource.assign`.

        Raises:
            PlanError: The plan has no scale for a tensor, or unequal ones where one is carried.
        """
        keys = {t: scale_key(t, precision) for t in tensors}
        missing = [t for t in sorted(tensors) if keys[t] not in self._params]
        if missing:
            raise PlanError(f"the plan lacks the scale of tensor {missing[0]!r}; {_EDITED}")
        for tie in ties:
            if tie.exact and self._params[keys[tie.a]] != self._params[keys[tie.b]]:
                raise PlanError(
                    f"the plan has unequal scales for {tie.a!r} and {tie.b!r}; {_EDITED}"
                )
        return {t: self._params[key] for t, key in keys.items()}


def stored_scale(scale: float, *, half: bool) -> float:
    """An activation's scale as a graph has it: FP32, or rounded up to a value that FP16 holds.

    A scale below FP16's normal range would lose its digits there, and stays as it is.

    Args:
        scale: As calibrated.
        half: Whether FP16 reads or writes what is quantized.
    """
    if half and fits_half(scale):
        return float(round_up_to_half(np.asarray(scale, np.float32)))
    return float(np.float32(scale))


def fits_half(scale: float) -> bool:
    """Whether FP16 holds an activation's scale without losing digits to its subnormal range."""
    return scale >= float(MIN_HALF_SCALE)


def round_up_to_half(scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The nearest normal FP16 values that are not below ``scale``: nothing clips that did not."""
    wide = np.maximum(scale, MIN_HALF_SCALE)
    half = wide.astype(np.float16)
    up = np.nextafter(half, np.float16(np.inf))
    rounded: npt.NDArray[np.float32] = np.where(half.astype(np.float32) < wide, up, half).astype(
        np.float32
    )
    return rounded
