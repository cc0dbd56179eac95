"""Text of which any diff makes sense."""

from __future__ import annotations

import json

__all__ = ["canonical"]


def canonical(value: object, indent: int = 0) -> str:
    """JSON with sorted keys in which a record without records inside stands on one line."""
    pad = " " * (indent + 1)
    if isinstance(value, dict) and any(_nested(v) for v in value.values()):
        rows = [f"{pad}{json.dumps(k)}: {canonical(value[k], indent + 1)}" for k in sorted(value)]
        return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        rows = [f"{pad}{canonical(v, indent + 1)}" for v in value]
        return "[\n" + ",\n".join(rows) + "\n" + " " * indent + "]"
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _nested(value: object) -> bool:
    return isinstance(value, (dict, list)) and bool(value)
