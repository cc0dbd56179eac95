"""Values of options as the user writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision

if TYPE_CHECKING:
    from precsearch.setup.shapes import ShapeSet

__all__ = [
    "integer",
    "parse_build_options",
    "parse_duration",
    "parse_precision",
    "parse_precisions",
    "parse_shape_sets",
    "parse_shapes",
    "parse_strategy_options",
    "real",
    "seconds",
    "size",
]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*[smh]\s*)+|\d+(?:\.\d+)?", re.ASCII)
_WEIGHT = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)
_MOST_DIMENSIONS = 32
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", re.ASCII)
_SHORT = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}


def parse_duration(text: str) -> float:
    """Seconds of ``90s``, ``30m``, ``1h``, ``1h30m``; a bare number is seconds.

    Raises:
        OptionError: It is none of these, or not positive.
    """
    stripped = text.strip().lower()
    if _DURATION.fullmatch(stripped):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(stripped))
        if seconds > 0 and math.isfinite(seconds):
            return seconds
    raise OptionError(f"--time-budget takes a time such as 90s, 30m or 1h, not {text!r}")


def parse_precisions(text: str) -> tuple[Precision, ...]:
    """``fp32,int8`` as precisions, highest first, each once.

    Raises:
        OptionError: A name is none of a precision, or there is none.
    """
    names = [part.strip().lower() for part in text.split(",") if part.strip()]
    known = {name: Precision.named(name) for name in names}
    for name, precision in known.items():
        if precision is None:
            raise OptionError(
                f"--precisions takes {_listed('and')}, separated by commas, not {name!r}"
            )
    if not names:
        raise OptionError(f"--precisions is empty; name some of {_listed('and')}")
    return Precision.ordered(p for p in known.values() if p is not None)


def parse_precision(text: str) -> Precision:
    """``fp16`` as a precision.

    Raises:
        OptionError: It is none.
    """
    precision = Precision.named(text.strip().lower())
    if precision is None:
        raise OptionError(f"--precision takes {_listed('or')}, not {text!r}")
    return precision


def _listed(word: str) -> str:
    *first, last = (p.value for p in Precision.ordered())
    return f"{', '.join(first)} {word} {last}"


def parse_shape_sets(texts: Iterable[str]) -> tuple[ShapeSet, ...]:
    """``x:1x3x32x32;y:1x5@0.5`` per set: shapes separated by semicolons, and a weight.

    Raises:
        OptionError: One is not of this form, or its weight is not above 0.
    """
    from precsearch.setup.shapes import ShapeSet

    sets = []
    for text in texts:
        body, at, weight = text.rpartition("@")
        weighted = bool(at) and _WEIGHT.fullmatch(weight.strip()) is not None
        if not weighted:
            body, weight = text, "1"
        shapes = parse_shapes((s.strip() for s in body.split(";") if s.strip()), "--shapes")
        sets.append(ShapeSet(shapes, float(weight)))
    return tuple(sets)


def parse_shapes(texts: Iterable[str], option: str = "--input-shape") -> dict[str, tuple[int, ...]]:
    """``x:8x3x224x224`` per input as input name → shape.

    The name may hold colons; the shape comes after the last one. An empty shape is a scalar's.

    Raises:
        OptionError: One is not of this form, or an input comes twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, colon, shape = text.rpartition(":")
        sizes = [part.strip() for part in shape.lower().split("x")] if shape.strip() else []
        valid = all(re.fullmatch(r"[0-9]{1,9}", s) for s in sizes)
        if not (colon and name and valid and len(sizes) <= _MOST_DIMENSIONS):
            raise OptionError(f"{option} takes NAME:SIZExSIZE, such as x:8x3x224x224, not {text!r}")
        if name in shapes:
            raise OptionError(f"{option} names the input {name!r} twice; keep one")
        shapes[name] = tuple(int(s) for s in sizes)
    return shapes


def parse_build_options(texts: Iterable[str]) -> dict[str, str]:
    """``name=value`` per option as name → value; what they mean, the backend knows.

    Raises:
        OptionError: One is not of this form, or a name comes twice.
    """
    return _named(texts, "--build-option", "workspace_mib=4096")


def parse_strategy_options(texts: Iterable[str]) -> dict[str, str]:
    """``name=value`` per option as name → value; what they mean, the strategy knows.

    Raises:
        OptionError: One is not of this form, or a name comes twice.
    """
    return _named(texts, "--strategy-option", "patience=20")


def _named(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """``name=value`` per option as name → value.

    Raises:
        OptionError: One is not of this form, or a name comes twice.
    """
    fields: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise OptionError(f"{option} takes NAME=VALUE, such as {example}, not {text!r}")
        if name in fields:
            raise OptionError(f"{option} names {name!r} twice; keep one")
        fields[name] = value
    return fields


def integer(option: str, least: int) -> Callable[[str], int]:
    """A parser of whole numbers of at least ``least`` for the option named ``option``."""

    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", str(text)) else least - 1
        if value < least:
            raise OptionError(f"{option} takes a whole number of at least {least}, not {text!r}")
        return value

    return parse


def seconds(option: str) -> Callable[[str], float]:
    """A parser of short times, such as ``5ms``, for the option named ``option``."""

    def parse(text: str) -> float:
        match = _QUANTITY.fullmatch(str(text).strip())
        unit = None if match is None else _SHORT.get(match[2].lower())
        if match is None or unit is None or not float(match[1]) > 0:
            raise OptionError(f"{option} takes a time such as 5ms or 800us, not {text!r}")
        return float(match[1]) * unit

    return parse


def size(option: str) -> Callable[[str], int]:
    """A parser of sizes, such as ``20MB`` or ``512KiB``, for the option named ``option``."""

    def parse(text: str) -> int:
        match = _QUANTITY.fullmatch(str(text).strip())
        unit = None if match is None else _BYTES.get(match[2].lower())
        if match is None or unit is None or not float(match[1]) > 0:
            raise OptionError(f"{option} takes a size such as 20MB or 512KiB, not {text!r}")
        return int(float(match[1]) * unit)

    return parse


def real(option: str) -> Callable[[str], float]:
    """A parser of finite numbers for the option named ``option``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise OptionError(f"{option} takes a number such as 1e-2, not {text!r}")
        return value

    return parse
