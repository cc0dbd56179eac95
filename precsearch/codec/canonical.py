"""Text of which any diff makes sense."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["canonical"]

_FIRST = (
    *("schema", "digest", "recipe", "criteria"),
    *("key", "tensor", "name", "number", "precision", "kind"),
)
"""Keys that a reader looks for first, in this order."""


def canonical(value: object, indent: int = 0) -> str:
    """JSON in which a record without records inside stands on one line.

    Equal values give equal text: keys come in the order of `_FIRST`, then those whose value fits on
    a line, then the others, each by name. A digest comes last in a record that has a key.
    """
    pad = " " * (indent + 1)
    if isinstance(value, dict) and any(_nested(v) for v in value.values()):
        rows = [f"{pad}{json.dumps(k)}: {canonical(v, indent + 1)}" for k, v in _ordered(value)]
        return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        rows = [f"{pad}{canonical(v, indent + 1)}" for v in value]
        return "[\n" + ",\n".join(rows) + "\n" + " " * indent + "]"
    if isinstance(value, dict):
        return json.dumps(dict(_ordered(value)), allow_nan=False)
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _ordered(record: dict[str, Any]) -> list[tuple[str, Any]]:
    first = [k for k in _FIRST if k != "digest" or "key" not in record]

    def place(item: tuple[str, Any]) -> tuple[int, bool, str]:
        key, value = item
        rank = first.index(key) if key in first else len(first)
        return rank, _long(value), key

    return sorted(record.items(), key=place)


def _nested(value: object) -> bool:
    return isinstance(value, (dict, list)) and bool(value)


def _long(value: object) -> bool:
    """Whether a value takes several lines."""
    if isinstance(value, dict):
        return any(map(_nested, value.values()))
    return isinstance(value, list) and any(isinstance(v, dict) for v in value)
