"""One tolerance or several, as they are typed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from precsearch.core.errors import OptionError

__all__ = ["Tolerances"]


@dataclass(frozen=True)
class Tolerances:
    """Tolerances in ascending order.

    Attributes:
        texts: As they were typed, for file names.
        values: In the same order.
    """

    texts: tuple[str, ...]
    values: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Tolerances:
        """``1e-2`` or ``5e-3,1e-2,3e-2``.

        Raises:
            OptionError: One is no number, or is named twice.
        """
        texts = [part.strip() for part in text.split(",")]
        values = [_number(part) for part in texts]
        if len(set(values)) < len(values):
            raise OptionError(f"--tol names a tolerance twice: {text!r}")
        order = sorted(range(len(values)), key=values.__getitem__)
        return cls(tuple(texts[i] for i in order), tuple(values[i] for i in order))


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(
            f"--tol takes a number such as 1e-2, or several separated by commas, not {text!r}"
        )
    return value
