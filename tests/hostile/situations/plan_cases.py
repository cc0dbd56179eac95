"""Plans that were edited, belong elsewhere, or are no plans; and damaged journals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from precsearch.codec import structure
from precsearch.plan.plan import SCHEMA, Criteria, Plan, Recipe
from tests.cli.runs import plan as plan_shown
from tests.hostile.situations.throw import Case, Make
from tests.hostile.situations.world import journal_bytes, model

__all__ = ["PLAN_CASES", "digest_of"]

LINE = "build plan.json --model model.onnx -o new.onnx"
VERIFY = "verify plan.json --model model.onnx"
RESUME = "optimize model.onnx --data data.npz --tol 0.9 --threads 1 --run-dir run --resume"


def wrote(content: bytes) -> Make:
    """``plan.json`` with these bytes."""

    def make(folder: Path) -> str:
        (folder / "plan.json").write_bytes(content)
        return LINE

    return make


def sparse_plan(folder: Path) -> str:
    with (folder / "plan.json").open("wb") as file:
        file.truncate(65 << 20)
    return LINE


def edited(edit: Callable[[Any], object], line: str = LINE) -> Make:
    """A plan edited by hand, whose digest is left as it was."""

    def make(folder: Path) -> str:
        data = json.loads((folder / "plan.json").read_text())
        edit(data)
        (folder / "plan.json").write_text(json.dumps(data))
        return line

    return make


def forged(edit: Callable[[Any], object], line: str = LINE) -> Make:
    """A recipe edited by someone who knows how its digest is made."""

    return forged_in("recipe", edit, line)


def forged_in(part: str, edit: Callable[[Any], object], line: str = LINE) -> Make:
    """The same of the recipe or of the criteria."""

    def forge(data: Any) -> None:
        edit(data[part])
        data["digest"] = digest_of(data["recipe"], data["criteria"])

    return edited(forge, line)


def digest_of(recipe: object, criteria: object) -> str:
    """What a plan of this recipe and these criteria has as its digest."""
    evidence = plan_shown().evidence
    return Plan(structure(recipe, Recipe), structure(criteria, Criteria), evidence).digest


def cut(folder: Path) -> str:
    return wrote((folder / "plan.json").read_bytes()[:-50])(folder)


def changed_weight(folder: Path) -> str:
    """Another model: one weight of the MatMul is another."""
    other = model()
    weights = bytearray(other.graph.initializer[1].raw_data)
    weights[402] ^= 0x40
    other.graph.initializer[1].raw_data = bytes(weights)
    (folder / "model.onnx").write_bytes(other.SerializeToString())
    return LINE


def other_model(folder: Path) -> str:
    (folder / "model.onnx").write_bytes(model(hidden=6).SerializeToString())
    return LINE


def journal(change: Callable[[bytes], bytes], line: str = RESUME) -> Make:
    """A run directory with a journal that was changed."""

    def make(folder: Path) -> str:
        (folder / "run").mkdir()
        content = change(journal_bytes(folder))
        (folder / "run" / "journal.jsonl").write_bytes(content)
        return line

    return make


def _set(*path: str | int, to: object) -> Callable[[Any], None]:
    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return edit


def _drop(*path: str | int) -> Callable[[Any], None]:
    def edit(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return edit


def _twins(data: Any) -> None:
    data["scales"].append(dict(data["scales"][0]))


HAND = "it was edited by hand"
TRIAL = b'{"type":"TrialFinished","trial":{"proposal":{"fidelity":"engine","assignment":{}},'

PLAN_CASES = [
    Case("plan", "is missing", lambda _: LINE.replace("plan.json", "p"), "cannot be read: No such"),
    Case("plan", "is a folder", lambda _: LINE.replace("plan.json", "."), "cannot be read: Is a"),
    Case("plan", "is a device", lambda _: LINE.replace("plan.json", "/dev/zero"), "it is a device"),
    Case("plan", "has 65 MB of nothing", sparse_plan, "too large to be a plan"),
    Case("plan", "is empty", wrote(b""), "is not valid JSON"),
    Case("plan", "is the model", lambda _: LINE.replace("plan.json", "model.onnx"), "is not text"),
    Case("plan", "is a list", wrote(b"[]"), "is not a JSON object"),
    Case("plan", "is cut short", cut, "is not valid JSON"),
    Case("plan", "is nested 100,000 deep", wrote(b"[" * 100_000), "is not valid JSON"),
    Case("plan", "names a key twice", wrote(b'{"schema": 1, "schema": 1}'), "names a key twice"),
    Case("plan", "holds NaN", wrote(b'{"schema": NaN}'), "holds NaN, which is not JSON"),
    Case("plan", "has no schema", edited(_drop("schema")), "has schema None"),
    Case("plan", "has an older schema", edited(_set("schema", to=0)), "make it again with"),
    Case(
        "plan",
        "has a newer schema",
        edited(_set("schema", to=SCHEMA + 1)),
        "it was written by a newer precsearch: install that one",
    ),
    Case("plan", "has an unknown key", edited(_set("x", to=1)), "an unknown key 'x'; remove it"),
    Case("plan", "has an unknown key inside", edited(_set("recipe", "x", to=1)), "key 'x'"),
    Case("plan", "lacks its recipe", edited(_drop("recipe")), "malformed"),
    Case("plan", "lacks a model", edited(_drop("recipe", "model_sha256")), "is missing"),
    Case("plan", "has a number for its evidence", edited(_set("evidence", to=3)), "malformed"),
    Case(
        "plan",
        "asks for fp6",
        edited(_set("recipe", "groups", 0, "precision", to="fp6")),
        "expected one of fp32, bf16, fp16",
    ),
    Case(
        "plan",
        "has a precision changed",
        edited(_set("recipe", "groups", 0, "precision", to="fp32")),
        HAND,
    ),
    Case(
        "plan",
        "has a scale changed",
        edited(_set("recipe", "scales", 0, "scale", to="0x1p-3")),
        HAND,
    ),
    Case(
        "plan",
        "has a shape changed",
        edited(_set("recipe", "shapes", 0, "x", to=[2, 1, 8, 8])),
        HAND,
    ),
    Case("plan", "has its options changed", edited(_set("recipe", "options", to={})), HAND),
    Case("plan", "has its model changed", edited(_set("recipe", "model_sha256", to="0")), HAND),
    Case("plan", "has its backend changed", edited(_set("recipe", "backend", to="tpu")), HAND),
    Case("plan", "has its digest changed", edited(_set("digest", to="00")), HAND),
    Case("plan", "is forged: a backend", forged(_set("backend", to="tpu")), "no backend 'tpu'"),
    Case(
        "plan", "is forged: a scheme", forged(_set("scheme", to="s4")), "quantization scheme 's4'"
    ),
    Case("plan", "is forged: a granularity", forged(_set("granularity", to="row")), "'row'"),
    Case("plan", "is forged: a lowering", forged(_set("lowering", to="typed-0")), "'typed-0'", 4),
    Case(
        "plan", "is forged: a space", forged(_set("space_sha256", to="00")), "groups the model's", 4
    ),
    Case(
        "plan",
        "is forged: threads as text",
        forged(_set("options", "threads", to="many")),
        "number of threads is 'many'",
    ),
    Case("plan", "is forged: an option", forged(_set("options", "rm", to=1)), "build option 'rm'"),
    Case("plan", "is forged: fp16", forged(_set("groups", 0, "precision", to="fp16")), "fp16"),
    Case(
        "plan",
        "is forged: a rewrite",
        forged(_set("rewrites", to=[{"name": "sleep"}])),
        "no rewrite",
    ),
    Case(
        "plan",
        "is forged: a rewrite that fits nowhere",
        forged(_set("rewrites", to=[{"name": "merge-scales"}])),
        "the plan's rewrite 'merge-scales' fits nowhere in this model now",
        4,
    ),
    Case("plan", "is forged: a group", forged(_set("groups", 0, "key", to="q")), "'q'"),
    Case(
        "plan",
        "is forged: a precision",
        forged(_set("groups", 1, "precision", to="fp32")),
        "the first node that differs is 'conv' (group 'flat')",
        4,
    ),
    Case("plan", "is forged: no scales", forged(_set("scales", to=[])), "lacks the scale of"),
    Case("plan", "is forged: a scale twice", forged(_twins), "has two scales for tensor"),
    Case(
        "plan", "is forged: a scale of 0", forged(_set("scales", 0, "scale", to="0x0p0")), "0x0p0"
    ),
    Case(
        "plan", "is forged: a scale of inf", forged(_set("scales", 0, "scale", to="inf")), "'inf'"
    ),
    Case(
        "plan",
        "is forged: a scale of 1e99",
        forged(_set("scales", 0, "scale", to="0x1p+900")),
        "0x1p+900",
    ),
    Case(
        "plan",
        "is forged: a zero point of 300",
        forged(_set("scales", 0, "zero_point", to=300)),
        "zero point of tensor 'flat' is 300, not of uint8",
    ),
    Case(
        "plan",
        "is forged: a range of each inference",
        forged(_set("dynamic", to=["nothing"])),
        "node 'nothing' cannot round by the range of each inference",
    ),
    Case(
        "plan",
        "is forged: a shift of no node",
        forged(_set("shifts", to=[{"node": "nothing", "shift": "f2:"}])),
        "shift of node 'nothing' does not fit it",
    ),
    Case("plan", "has one weight changed", changed_weight, "the first node that differs is 'y'", 4),
    Case("plan", "belongs to another model", other_model, "is not the model that the plan was", 4),
    Case(
        "plan",
        "is verified with another metric",
        edited(_set("criteria", "metric", to="max-abs"), VERIFY),
        "recipe and criteria do not match its digest",
    ),
    Case(
        "plan",
        "is verified with another tolerance",
        edited(_set("criteria", "tolerance", to=1e9), VERIFY),
        "recipe and criteria do not match its digest",
    ),
    Case(
        "plan",
        "is forged: a metric",
        forged_in("criteria", _set("metric", to="beauty"), VERIFY),
        "there is no metric 'beauty', by which the plan is judged",
    ),
    Case(
        "plan",
        "is forged: a baseline",
        forged_in("criteria", _set("baseline", to="int8"), VERIFY),
        "the plan is compared with int8",
    ),
    Case(
        "plan",
        "is forged: a metric that is code",
        forged_in("criteria", _set("metric", to="evil.py:run"), VERIFY),
        "which runs only if you name it: add --metric FILE.py:FUNCTION",
    ),
    Case(
        "plan",
        "is forged: a metric that is code of no digest",
        forged_in("criteria", _set("metric", to="evil.py:run"), f"{VERIFY} --metric evil.py:run"),
        "the plan does not say which 'evil.py:run' it is judged by",
    ),
    Case(
        "plan",
        "is verified with --metric of another name",
        lambda _: f"{VERIFY} --metric max-abs",
        "the plan is judged by 'rel-l2', --metric names 'max-abs'",
    ),
    Case("plan", "is not the expected one", lambda _: f"{VERIFY} --expect {'0' * 64}", "digest", 4),
    Case(
        "plan",
        "is built and not the expected one",
        lambda _: f"{LINE} --expect {'0' * 64}",
        "which is not the expected one",
        4,
    ),
    Case("plan", "is expected by a word", lambda _: f"{VERIFY} --expect abc", "64 hexadecimal"),
    Case("plan", "has no model beside it", lambda _: "build plan.json -o n", "name the model with"),
    Case(
        "journal", "is of another version", journal(lambda b: b'{"a":1}\n' + b), "is not a journal"
    ),
    Case("journal", "is binary", journal(lambda _: bytes(range(256)) + b"\n"), "is not a journal"),
    Case("journal", "is nested", journal(lambda _: b"[" * 99_999 + b"\n"), "is not a journal"),
    Case(
        "journal",
        "lacks its beginning",
        journal(lambda _: b'{"type":"Warned","message":""}\n'),
        "does not begin with a run",
    ),
    Case(
        "journal",
        "is of another run",
        journal(lambda b: b, RESUME.replace("0.9", "0.8")),
        "cannot be resumed: tol was 0.9 and is now 0.8",
    ),
    Case(
        "journal",
        "is damaged amid trials",
        journal(lambda b: b + b"{oops\n" + TRIAL + b'"model_digest":""}}\n'),
        "line 2 of",
    ),
    Case(
        "journal",
        "is there already",
        journal(lambda b: b + TRIAL + b'"model_digest":""}}\n', RESUME.replace(" --resume", "")),
        "add --resume",
    ),
]
