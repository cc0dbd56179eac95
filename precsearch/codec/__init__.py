"""Frozen dataclasses ↔ data that strict JSON can hold.

Enums go by value, tuples as lists, an `Assignment` as an object, a union of dataclasses as an
object with a ``type``. JSON has no infinite numbers, so those are the strings ``"inf"``, ``"-inf"``
and ``"nan"``. Reading is strict: nothing is coerced, nothing unknown is skipped.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from cattrs import transform_error
from cattrs.errors import (
    BaseValidationError,
    ForbiddenExtraKeysError,
    StructureHandlerNotFoundError,
)

from precsearch.codec.hooks import converter
from precsearch.core.errors import InputError

__all__ = ["dumps", "structure", "unstructure"]

T = TypeVar("T")

_MALFORMED = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    InputError,  # a record that checks itself
    BaseValidationError,
    ForbiddenExtraKeysError,
    StructureHandlerNotFoundError,
)


def dumps(data: object) -> str:
    """Compact JSON on one line with sorted keys.

    Raises:
        ValueError: A float in ``data`` is not finite; `unstructure` takes care of those.
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def unstructure(value: object, cls: Any = None) -> Any:  # noqa: ANN401 - types are values here
    """``value`` as data for JSON.

    Args:
        value: A dataclass, or what dataclasses hold.
        cls: What to write it as; needed for a union, whose members are told apart by a ``type``.
    """
    return converter(detailed=False).unstructure(value, cls)


def structure(data: object, cls: type[T]) -> T:
    """What `unstructure` made ``data`` from.

    Args:
        data: Parsed JSON.
        cls: A dataclass, a union of dataclasses, or what dataclasses hold.

    Raises:
        ValueError: It does not fit; the message is one sentence that says where.
    """
    try:
        return converter(detailed=False).structure(data, cls)
    except _MALFORMED:
        pass
    # Keeping track of places makes reading slower, so only what is known to be bad is read so.
    try:
        return converter(detailed=True).structure(data, cls)
    except _MALFORMED as error:
        raise ValueError(_sentence(error)) from None


def _sentence(error: Exception) -> str:
    first, _, rest = transform_error(error, format_exception=_explain)[0].partition(" @ $")
    place = rest.removeprefix(".")
    text = " ".join(first.split())
    return f"at {place!r}: {text}" if place else text


def _explain(error: BaseException, _: type | None) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown key {min(error.extra_fields)!r}"
    return str(error) or type(error).__name__
