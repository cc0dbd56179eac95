"""Plans of an older schema, as the present one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from precsearch.codec import renamed

__all__ = ["OLDEST", "digest_of_schema_1", "from_schema_1"]

OLDEST = 1
"""The oldest schema that is read."""

_MOVED = ("metric", "tolerance", "seed", "data")


def from_schema_1(data: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A plan of schema 1, whose digest covered its recipe alone, with criteria of their own.

    Args:
        data: Parsed JSON; nothing of it was checked yet.

    Returns:
        What schema 2 has, without digests, and what the user should know.
    """
    evidence = data.get("evidence")
    kept = dict(evidence) if isinstance(evidence, dict) else {}
    criteria = {name: kept.pop(name) for name in _MOVED if name in kept}
    shapes = _shapes(kept.get("latency"))
    if shapes:
        criteria["shapes"] = shapes
    message = (
        "the plan has schema 1, whose digest does not cover what verify judges by (here "
        f"{criteria.get('metric')!r:.40} up to {criteria.get('tolerance')!r:.20}): check it, or "
        "make the plan again with 'precsearch optimize'"
    )
    given = {
        "recipe": renamed.recipe(data.get("recipe")),
        "criteria": criteria,
        "evidence": renamed.evidence(kept),
    }
    return given, message


def digest_of_schema_1(data: Mapping[str, Any]) -> str:
    """The digest of a plan of schema 1: SHA-256 of its recipe's canonical JSON, as hex."""
    text = json.dumps(data.get("recipe"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _shapes(latency: object) -> list[dict[str, Any]]:
    rows = latency.get("by_shape") if isinstance(latency, dict) else None
    if not isinstance(rows, list) or len(rows) < 2:
        return []
    return [{k: r.get(k) for k in ("shapes", "weight")} for r in rows if isinstance(r, dict)]
