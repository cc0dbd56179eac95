"""Options that several functions take, as people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TypeAlias

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.grouping.control import Control
from precsearch.grouping.control import pin as one_pin

__all__ = ["FilePath", "control_of", "precisions_of"]

FilePath: TypeAlias = "str | PathLike[str]"


def control_of(
    pin: Mapping[str, str] | None, exclude: Sequence[str], only: Sequence[str]
) -> Control:
    """What is settled, from the options of `optimize`.

    Raises:
        OptionError: A precision is none.
    """
    for name, given in (("exclude", exclude), ("only", only)):
        if isinstance(given, str):
            raise OptionError(f"{name} takes a list of patterns, not one text: [{given!r}]")
    pins = [one_pin(pattern, precision) for pattern, precision in (pin or {}).items()]
    pins += [one_pin(p, Precision.FP32.value, option=f"exclude {p}") for p in exclude]
    return Control(tuple(pins), tuple(only))


def precisions_of(names: Sequence[str | Precision] | None) -> tuple[Precision, ...] | None:
    """Precisions by label, the most precise first.

    Raises:
        OptionError: A label is none.
    """
    if names is None:
        return None
    given = [names] if isinstance(names, str) else names
    named = {str(name): Precision.named(str(name)) for name in given}
    for name, precision in named.items():
        if precision is None:
            known = ", ".join(p.value for p in Precision.ordered())
            raise OptionError(f"there is no precision {name!r}; use {known}")
    return Precision.ordered(p for p in named.values() if p is not None)
