"""JSON schemas of what precsearch writes, from the records themselves.

``python -m precsearch.plan.schema`` prints that of a plan, which is kept in
``docs/plan.schema.json``; ``python -m precsearch.plan.schema events`` prints that of a line of
``--json`` or of a journal, and ``python -m precsearch.plan.schema tables`` the same as the tables
of ``docs/json.md``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from precsearch.core.events import Event
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.plan.plan import SCHEMA, Criteria, Evidence, Recipe

__all__ = ["described", "event_schema", "event_tables", "plan_schema"]

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_DIGEST = "SHA-256 of the canonical JSON of an object of recipe and criteria."
_SCALARS: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
_NUMBER = {
    "description": "JSON has no infinite numbers: they are strings.",
    "anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}],
}
_ENTRY = re.compile(r"^ {4}(\w[\w, ]*): (.*(?:\n {8,}\S.*)*)", re.MULTILINE)


def plan_schema() -> dict[str, Any]:
    """The schema of a plan file."""
    records: dict[str, Any] = {}
    properties = {
        "schema": {"const": SCHEMA, "description": "Version of this format."},
        "digest": {"type": "string", "description": _DIGEST},
        "recipe": _of(Recipe, records),
        "criteria": _of(Criteria, records),
        "evidence": {
            **_of(Evidence, records),
            "description": "What was measured; otherwise in a file beside the plan.",
        },
        "evidence_digest": {
            "type": "string",
            "description": "SHA-256 of the evidence's canonical JSON.",
        },
    }
    return {
        "$schema": _DRAFT,
        "title": "A plan of precsearch",
        "type": "object",
        "properties": properties,
        "required": sorted(set(properties) - {"evidence"}),
        "additionalProperties": False,
        "$defs": dict(sorted(records.items())),
    }


def event_schema() -> dict[str, Any]:
    """The schema of an event: of a line of a journal, and of ``--json`` but for the last line."""
    records: dict[str, Any] = {}
    schema = _of(Event, records)
    return {"$schema": _DRAFT, "title": "An event of precsearch", **schema, "$defs": records}


def event_tables() -> str:
    """The events and the records inside them as Markdown."""
    schema = event_schema()
    events = [branch["$ref"].rpartition("/")[2] for branch in schema["oneOf"]]
    inner = sorted(set(schema["$defs"]) - {*events, "number"})
    lines: list[str] = []
    for title, names in (("Events", events), ("Records inside events", inner)):
        lines += [f"## {title}", ""]
        for name in names:
            record = schema["$defs"][name]
            lines += [f"### {name}", "", record["description"], ""]
            lines += ["| field | type | |", "|---|---|---|"]
            for field, kind in record["properties"].items():
                optional = [] if field in record["required"] else ["optional"]
                text = "; ".join([*optional, *filter(None, [kind.get("description")])])
                lines.append(f"| `{field}` | {_told(kind)} | {text} |".replace("  |", " |"))
            lines.append("")
    return "\n".join(lines)


def _told(kind: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "const" in kind:
        return f'`"{kind["const"]}"`'
    if "enum" in kind:
        return " or ".join(f'`"{v}"`' for v in kind["enum"])
    if "$ref" in kind:
        return str(kind["$ref"]).rpartition("/")[2]
    if "anyOf" in kind or "oneOf" in kind:
        return " or ".join(_told(k) for k in kind.get("anyOf") or kind["oneOf"])
    if kind["type"] == "object":
        return f"name → {_told(kind['additionalProperties'])}"
    if kind["type"] == "array":
        inner = kind["items"] or {"anyOf": kind["prefixItems"]}
        return f"list of {_told(inner)}"
    return str(kind["type"])


def described(record: type) -> dict[str, str]:
    """What the docstring of a record says about each of its fields."""
    descriptions: dict[str, str] = {}
    # Python strips the indentation of a docstring itself from 3.13 on.
    for names, text in _ENTRY.findall(inspect.cleandoc(record.__doc__ or "")):
        for name in names.split(","):
            descriptions[name.strip()] = " ".join(text.replace("``", "`").split())
    return descriptions


def _of(kind: Any, records: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a type
    """The schema of a type; those of records go to ``records`` and are referred to."""
    origin, args = get_origin(kind), get_args(kind)
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if kind is float:
        records["number"] = _NUMBER
        return {"$ref": "#/$defs/number"}
    if kind is Assignment:
        return {"type": "object", "additionalProperties": _of(Precision, records)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if is_dataclass(kind) and isinstance(kind, type):
        return _reference(kind, records)
    if origin in (Union, UnionType):
        return _of_union(args, records)
    if origin is tuple and args[1:] == (...,):
        return {"type": "array", "items": _of(args[0], records)}
    if origin is tuple:
        return {"type": "array", "prefixItems": [_of(a, records) for a in args], "items": False}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(args[1], records)}
    raise TypeError(f"no schema for {kind!r}")


def _of_union(args: tuple[Any, ...], records: dict[str, Any]) -> dict[str, Any]:
    if all(is_dataclass(a) for a in args):
        return {"oneOf": [_reference(a, records, tagged=True) for a in args]}
    return {"anyOf": [_of(a, records) for a in args]}


def _reference(record: type, records: dict[str, Any], *, tagged: bool = False) -> dict[str, Any]:
    name = record.__name__
    if name not in records:
        records[name] = {}  # a place is taken before its fields are looked at
        records[name] = _record(record, records, tagged)
    return {"$ref": f"#/$defs/{name}"}


def _record(record: type, records: dict[str, Any], tagged: bool) -> dict[str, Any]:
    hints = get_type_hints(record)
    descriptions = described(record)
    properties: dict[str, Any] = {"type": {"const": record.__name__}} if tagged else {}
    required = ["type"] if tagged else []
    for entry in fields(record):
        properties[entry.name] = _of(hints[entry.name], records)
        if entry.name in descriptions:
            properties[entry.name]["description"] = descriptions[entry.name]
        if _has_no_default(entry):
            required.append(entry.name)
    return {
        "type": "object",
        "description": " ".join((record.__doc__ or "").split("\n\n")[0].replace("``", "`").split()),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _has_no_default(entry: Field[Any]) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _main() -> None:
    what = sys.argv[1:]
    if what == ["tables"]:
        sys.stdout.write(event_tables())
        return
    schema = event_schema() if what == ["events"] else plan_schema()
    sys.stdout.write(json.dumps(schema, indent=1) + "\n")


if __name__ == "__main__":
    _main()
