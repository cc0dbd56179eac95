"""Options that a user gives as text, as the fields of a dataclass."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from precsearch.core.errors import OptionError

__all__ = ["constructed", "option_names"]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def option_names(cls: type) -> tuple[str, ...]:
    """The options of a class, in order; none if it is no dataclass."""
    return tuple(f.name for f in fields(cls) if f.init) if is_dataclass(cls) else ()


def constructed(cls: Callable[..., Any], given: Mapping[str, str], what: str) -> Any:  # noqa: ANN401 - any class
    """An object with options that were given as text.

    Args:
        cls: A dataclass whose fields are numbers, truth values, text, or tuples of them. Anything
            else takes no options.
        given: Name → value. A tuple's elements are separated by commas.
        what: What the options belong to, for messages.

    Raises:
        OptionError: An option is unknown or is not of its field's type, or the class refuses it.
    """
    if not given:
        return cls()
    kind = cls if isinstance(cls, type) else object
    names = option_names(kind)
    unknown = sorted(set(given) - set(names))
    if unknown:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise OptionError(f"{what} has no option {unknown[0]!r}; {known}")
    hints = get_type_hints(kind)
    values = {name: _value(text, hints[name], f"{what}: {name}") for name, text in given.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{what} refuses its options: {error}") from error


def _value(text: str, kind: Any, where: str) -> Any:  # noqa: ANN401 - a type is a value here
    """``text`` as a value of a type."""
    if get_origin(kind) in (Union, types.UnionType):
        members = [m for m in get_args(kind) if m is not type(None)]
        if text.lower() == "none" and len(members) < len(get_args(kind)):
            return None
        return _value(text, members[0], where)
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return tuple(_value(part.strip(), element, where) for part in text.split(",") if part)
    if kind is bool and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    if kind is str:
        return text
    for number, words in ((int, "a whole number"), (float, "a number")):
        if kind is number:
            try:
                value = number(text)
                if math.isfinite(value):
                    return value
            except (ValueError, OverflowError):
                pass
            raise OptionError(f"{where} takes {words}, not {text!r}")
    if kind is bool:
        raise OptionError(f"{where} takes true or false, not {text!r}")
    raise OptionError(f"{where} cannot be given as text")
