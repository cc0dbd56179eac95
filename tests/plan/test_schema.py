"""The schemas are those of the records, real files fit them, and the pages describe every field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from precsearch.cli.output.doctor import diagnose, doctor_fields
from precsearch.cli.output.optimize import result_fields
from precsearch.codec import dumps, unstructure
from precsearch.core.events import Event
from precsearch.plan.plan import read_plan
from precsearch.plan.schema import event_schema, event_tables, plan_schema
from tests.cli.faked import result
from tests.cli.runs import synthetic_run
from tests.hostile.situations.world import write_world

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = Path(__file__).parents[2] / "examples/replay/digits.plan.json"
TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}


def wrong(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str = "$") -> str:
    """Where a document does not fit its schema; "" if it does. As much of JSON Schema as we use."""
    if "$ref" in schema:
        return wrong(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            tried = [wrong(value, branch, root, place) for branch in schema[key]]
            return "" if "" in tried else "; ".join(tried)
    if "const" in schema:
        return "" if value == schema["const"] else f"{place} is not {schema['const']!r}"
    if "enum" in schema:
        return "" if value in schema["enum"] else f"{place} is none of {schema['enum']}"
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"{place} is no {kind}"
    if kind == "array":
        return next(filter(None, _wrong_items(value, schema, root, place)), "")
    if kind == "object":
        return next(filter(None, _wrong_members(value, schema, root, place)), "")
    return ""


def _wrong_items(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str) -> Any:
    kinds = schema.get("prefixItems") or [schema["items"]] * len(value)
    yield "" if len(kinds) == len(value) else f"{place} has {len(value)} entries"
    for i, (item, kind) in enumerate(zip(value, kinds, strict=False)):
        yield wrong(item, kind, root, f"{place}[{i}]")


def _wrong_members(value: Any, schema: dict[str, Any], root: dict[str, Any], place: str) -> Any:
    known, others = schema.get("properties", {}), schema["additionalProperties"]
    for name in schema.get("required", []):
        yield "" if name in value else f"{place} lacks {name}"
    for name, item in value.items():
        if name in known:
            yield wrong(item, known[name], root, f"{place}.{name}")
        elif others is False:
            yield f"{place} has an unknown {name}"
        else:
            yield wrong(item, others, root, f"{place}.{name}")


def test_the_schema_of_a_plan_is_up_to_date() -> None:
    kept = json.loads((DOCS / "plan.schema.json").read_text(encoding="utf-8"))
    assert kept == plan_schema(), "run: python -m precsearch.plan.schema > docs/plan.schema.json"


def test_real_plans_fit_the_schema(tmp_path: Path) -> None:
    write_world(tmp_path)
    for path in (EXAMPLE, tmp_path / "plan.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert wrong(document, plan_schema(), plan_schema()) == ""
        assert read_plan(path).digest == document["digest"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("schema",), 1, "$.schema is not 2"),
        (("recipe", "groups", 0, "precision"), "fp6", "$.recipe.groups[0].precision is none of"),
        (("recipe", "extra"), 1, "$.recipe has an unknown extra"),
        (("evidence", "noise"), "loud", "$.evidence.noise is no number"),
        (("criteria", "seed"), True, "$.criteria.seed is no integer"),
    ],
)
def test_edited_plans_do_not_fit_the_schema(
    path: tuple[Any, ...], value: object, said: str
) -> None:
    document = json.loads(read_plan(EXAMPLE).to_json())
    owner = document
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    assert said in wrong(document, plan_schema(), plan_schema())


def test_events_fit_their_schema() -> None:
    schema = event_schema()
    seen = set()
    for event in synthetic_run(builds=12, proxies=8):
        document = json.loads(dumps(unstructure(event, Event)))
        assert wrong(document, schema, schema) == ""
        seen.add(document["type"])
    assert {"RunStarted", "SearchStarted", "TrialFinished", "PlanWritten"} <= seen


def test_the_page_describes_every_event_and_field() -> None:
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    assert page.endswith(event_tables()), "replace its end: python -m precsearch.plan.schema tables"
    for name, record in event_schema()["$defs"].items():
        assert name == "number" or all(f"`{field}`" in page for field in record["properties"])


def test_the_page_describes_every_field_of_the_last_line_and_of_doctor() -> None:
    page = (DOCS / "json.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", page.split("<!--")[0]))
    assert set(result_fields(result("met"))) | {"exit"} <= told
    assert set(doctor_fields(diagnose())) - {"type"} <= told


def test_every_record_is_described() -> None:
    for schema in (plan_schema(), event_schema()):
        for name, record in schema["$defs"].items():
            assert record["description"].endswith("."), name
