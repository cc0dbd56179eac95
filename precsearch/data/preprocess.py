"""How pictures and sounds become a model's input: a small language for ``--preprocess``.

``resize=256,crop=224,mean=0.485:0.456:0.406,std=0.229:0.224:0.225`` is what most models of ImageNet
want. The steps are always made in the order of `Preprocess`, whatever the order of the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from precsearch.core.errors import OptionError

__all__ = ["Preprocess", "parse_preprocess"]

_EXAMPLE = "resize=256,crop=224,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
_MOST_PIXELS = 1 << 14


@dataclass(frozen=True)
class Preprocess:
    """The steps.

    Attributes:
        resize: Height and width, or the shorter side alone; ``None`` leaves the size.
        letterbox: Height and width into which the picture is fitted, with grey beside it.
        crop: Height and width, cut from the middle.
        gray: One channel.
        bgr: Blue first.
        scale: What values are divided by; 255 where the model takes floats, else 1.
        mean: Of each channel, taken off after scaling.
        std: Of each channel, divided by then.
        layout: ``nchw`` or ``nhwc``; ``None`` is by the model's input.
        rate: Samples a second that sounds must have; ``None`` takes them as they are.
        seconds: Length that sounds are cut or filled up with silence to.
        text: As the user wrote it.
    """

    resize: tuple[int, ...] | None = None
    letterbox: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    gray: bool = False
    bgr: bool = False
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str | None = None
    rate: int | None = None
    seconds: float | None = None
    text: str = ""


def parse_preprocess(text: str) -> Preprocess:
    """The steps of a text such as ``resize=256,crop=224,bgr``.

    Raises:
        OptionError: It is none.
    """
    options: dict[str, Any] = {"text": text}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, value = part.partition("=")
        read = _READ.get(name.lower())
        parsed = None if read is None else read(value.strip().lower())
        if parsed is None:
            raise OptionError(
                f"--preprocess has {part!r}; it takes {', '.join(_READ)}, as in {_EXAMPLE}"
            )
        if name.lower() in options:
            raise OptionError(f"--preprocess names {name!r} twice; keep one")
        options["layout" if name.lower() in ("nchw", "nhwc") else name.lower()] = parsed
    return Preprocess(**options)


def _size(text: str) -> tuple[int, ...] | None:
    sides = text.split("x")
    if len(sides) > 2 or not all(s.isascii() and s.isdigit() for s in sides):
        return None
    numbers = tuple(map(int, sides))
    return numbers if all(0 < n <= _MOST_PIXELS for n in numbers) else None


def _square(text: str) -> tuple[int, ...] | None:
    sizes = _size(text)
    return sizes if sizes is None or len(sizes) > 1 else (sizes[0], sizes[0])


def _floats(text: str) -> tuple[float, ...] | None:
    try:
        values = tuple(float(part) for part in text.split(":"))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _positive(text: str) -> float | None:
    values = _floats(text)
    return values[0] if values is not None and len(values) == 1 and values[0] > 0 else None


def _deviations(text: str) -> tuple[float, ...] | None:
    values = _floats(text)
    return values if values is not None and all(f > 0 for f in values) else None


def _flag(text: str) -> bool | None:
    return True if not text else None


def _layout(text: str) -> str | None:
    return text if text in ("nchw", "nhwc") else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 20 else None


_READ: Mapping[str, Callable[[str], object]] = {
    "resize": _size,
    "letterbox": _square,
    "crop": _square,
    "gray": _flag,
    "bgr": _flag,
    "scale": _positive,
    "mean": _floats,
    "std": _deviations,
    "layout": _layout,
    "rate": _whole,
    "seconds": _positive,
}
