"""The numeric precisions: one table says how each is ordered, written, stored and drawn.

A plug-in adds a row by an entry point ``fp12 = "my_pkg:FP12"`` in ``precsearch.precisions``, where
``FP12`` is a `PrecisionSpec`; its backend names ``Precision("fp12")`` among its precisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from precsearch.core.errors import OptionError
from precsearch.core.formats import (
    BFLOAT16,
    FLOAT8E4M3,
    FLOAT16,
    FLOAT32,
    INT4,
    INT8,
    NumberFormat,
)

__all__ = ["CONVERSION_COLOUR", "PRECISIONS", "Encoding", "Precision", "PrecisionSpec"]


_GROUP = "precsearch.precisions"


class Encoding(Enum):
    """How a precision is written into a graph."""

    NATIVE = auto()
    """In the type that the model has: nothing is written."""
    CAST = auto()
    """Cast nodes around operators that compute in another float type."""
    QDQ = auto()
    """QuantizeLinear and DequantizeLinear around operators, on activations and weights."""
    WEIGHT_ONLY = auto()
    """DequantizeLinear behind weights alone."""


@dataclass(frozen=True, slots=True)
class PrecisionSpec:
    """A row of the table.

    Attributes:
        rank: Place in the declared order of fallback: unique, 0 the most precise; one between two
            others may be a fraction. It is no claim that BF16 is more accurate than FP16.
        encoding: How it is written into a graph.
        format: What activations and weights are stored in; a backend's scheme may say otherwise of
            the activations of a quantized operator.
        colour: In the report, as ``#rrggbb``.
    """

    rank: float
    encoding: Encoding
    format: NumberFormat
    colour: str


class Precision(str, Enum):
    """A numeric precision that a group can be asked to run in.

    What an added member needs is listed by ``tests/core/test_precision.py``: until it has all of
    that, those tests fail.
    """

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def spec(self) -> PrecisionSpec:
        """Its row of the table."""
        return PRECISIONS[self]

    @property
    def bits(self) -> int:
        """Storage bits of one element."""
        return self.spec.format.bits

    @property
    def is_quantized(self) -> bool:
        """Whether QuantizeLinear and DequantizeLinear write it."""
        return self.spec.encoding is Encoding.QDQ

    @property
    def rank(self) -> float:
        """Place in the declared order of fallback: 0 is the most precise, no two share one.

        Precisions are ordered by this and never by `bits`: two may have the same width.
        """
        return self.spec.rank

    @classmethod
    def ordered(cls, among: Iterable[Precision] | None = None) -> tuple[Precision, ...]:
        """These precisions, or all that there are, the most precise first, each once."""
        return tuple(sorted(set(PRECISIONS if among is None else among), key=lambda p: p.rank))

    @classmethod
    def below_fp32(cls) -> tuple[Precision, ...]:
        """Every precision but FP32, the least precise first."""
        return cls.ordered()[:0:-1]

    @classmethod
    def named(cls, text: str) -> Precision | None:
        """The precision with this label, one of a plug-in too; ``None`` if there is none."""
        try:
            return cls(text)
        except ValueError:
            return None

    @classmethod
    def _missing_(cls, value: object) -> Precision | None:
        """A precision that a plug-in declares by an entry point of ``precsearch.precisions``.

        Its name is the label, its object a `PrecisionSpec`. The row joins the table when the label
        is first asked for, in this process and in its workers.
        """
        from importlib.metadata import entry_points

        for entry_point in entry_points(group=_GROUP, name=str(value)):
            spec = entry_point.load()
            if not isinstance(spec, PrecisionSpec):
                raise OptionError(
                    f"the entry point {entry_point.value!r} of {value!r} is no PrecisionSpec"
                )
            if any(row.rank == spec.rank for row in PRECISIONS.values()):
                raise OptionError(f"the rank of the precision {value!r} is another's, too")
            member = str.__new__(cls, entry_point.name)
            member._name_, member._value_ = entry_point.name.upper(), entry_point.name
            cls._value2member_map_[entry_point.name] = member
            PRECISIONS[member] = spec
            return member
        return None

    def __str__(self) -> str:
        return self.value


# Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
PRECISIONS: dict[Precision, PrecisionSpec] = {
    Precision.FP32: PrecisionSpec(0, Encoding.NATIVE, FLOAT32, "#7f8a93"),
    Precision.BF16: PrecisionSpec(1, Encoding.CAST, BFLOAT16, "#cc79a7"),
    Precision.FP16: PrecisionSpec(2, Encoding.CAST, FLOAT16, "#e69f00"),
    Precision.FP8: PrecisionSpec(3, Encoding.QDQ, FLOAT8E4M3, "#009e73"),
    Precision.INT8: PrecisionSpec(4, Encoding.QDQ, INT8, "#0072b2"),
    Precision.INT4: PrecisionSpec(5, Encoding.WEIGHT_ONLY, INT4, "#56b4e9"),
}
"""Every precision. Labels, columns, colours and orders are loops over this table."""

CONVERSION_COLOUR = "#d55e00"
"""Of kernels and nodes that only change the format of numbers, from the same palette."""
