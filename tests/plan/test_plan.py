"""A plan survives its file, says what is wrong with a bad one, and pins its recipe."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.backend import Fingerprint
from precsearch.core.errors import PlanError
from precsearch.core.precision import Precision
from precsearch.core.strategy import PredictionErrors
from precsearch.core.trial import Accuracy, Aggregation, Latency, Prediction
from precsearch.plan.plan import (
    Criteria,
    Evidence,
    Finalist,
    GroupEvidence,
    GroupRecipe,
    Plan,
    Recipe,
    RewriteRecipe,
    ScaleRecipe,
    ShiftRecipe,
    TrialEvidence,
    WeightedShapes,
    evidence_path,
    read_plan,
)

FLOATS = st.floats(allow_nan=False)
TEXT = st.text(max_size=12)
RATIOS = st.floats(0, 1e3)
PRECISIONS = st.sampled_from(list(Precision))
HASHES = st.text("0123456789abcdef", min_size=8, max_size=8)
SAMPLES = st.lists(RATIOS, max_size=3).map(tuple)
LATENCIES = st.builds(Latency, RATIOS, RATIOS, RATIOS, RATIOS, RATIOS, RATIOS, SAMPLES, SAMPLES)
ACCURACIES = st.builds(
    Accuracy,
    FLOATS,
    FLOATS,
    st.dictionaries(TEXT, FLOATS, max_size=2),
    st.lists(FLOATS, max_size=3).map(tuple),
    st.lists(FLOATS, max_size=3).map(tuple),
    st.sampled_from(list(Aggregation)),
)


def some(kind: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    return st.lists(kind, max_size=most).map(tuple)


RECIPES = st.builds(
    Recipe,
    model_sha256=HASHES,
    materialised_sha256=HASHES,
    lowering=TEXT,
    scheme=TEXT,
    granularity=TEXT,
    space_sha256=HASHES,
    backend=TEXT,
    options=st.dictionaries(TEXT, st.integers() | TEXT, max_size=2),
    shapes=some(st.dictionaries(TEXT, some(st.integers(0, 999)), max_size=2)),
    groups=some(st.builds(GroupRecipe, TEXT, TEXT, PRECISIONS, HASHES)),
    scales=some(
        st.builds(ScaleRecipe, TEXT, st.floats(0, 9, width=32).map(float.hex), st.integers(0, 255))
    ),
    rewrites=some(st.builds(RewriteRecipe, TEXT, st.dictionaries(TEXT, st.integers(), max_size=2))),
)
EVIDENCE = st.builds(
    Evidence,
    version=TEXT,
    created=TEXT,
    fingerprint=st.builds(
        Fingerprint, TEXT, st.dictionaries(TEXT, TEXT, max_size=2), TEXT, some(TEXT)
    ),
    strategy=TEXT,
    calibration=TEXT,
    noise=RATIOS,
    baseline=LATENCIES,
    latency=LATENCIES,
    accuracy=ACCURACIES,
    holdout=st.none() | ACCURACIES,
    groups=some(st.builds(GroupEvidence, TEXT, PRECISIONS, TEXT)),
    predictions=st.none()
    | st.builds(PredictionErrors, st.integers(), RATIOS, FLOATS, st.integers()),
    finalists=some(
        st.builds(Finalist, st.integers(), RATIOS, FLOATS, st.none() | FLOATS, st.booleans())
    ),
    trials=some(
        st.builds(
            TrialEvidence,
            st.integers(),
            HASHES,
            st.dictionaries(TEXT, st.integers(), max_size=2),
            TEXT,
            st.none() | FLOATS,
            st.none() | RATIOS,
            TEXT,
            TEXT,
            st.booleans(),
            st.none() | st.builds(Prediction, RATIOS, FLOATS),
        )
    ),
    warnings=some(TEXT),
    stopped=TEXT,
    seconds=RATIOS,
)
CRITERIA = st.builds(
    Criteria,
    metric=TEXT,
    tolerance=FLOATS,
    seed=st.integers(),
    data=st.dictionaries(TEXT, st.integers() | TEXT | st.booleans(), max_size=3),
    metric_sha256=TEXT,
    baseline=PRECISIONS,
    shapes=some(
        st.builds(
            WeightedShapes, st.dictionaries(TEXT, some(st.integers(0, 999)), max_size=2), RATIOS
        )
    ),
)
PLANS = st.builds(Plan, RECIPES, CRITERIA, EVIDENCE)


def plan() -> Plan:
    """A small plan as a search writes it."""
    latency = Latency(1e-3, 9e-4, 1.1e-3, 0.5, 0.45, 0.55, (1e-3,), (2e-3,))
    return Plan(
        Recipe(
            model_sha256="aa",
            materialised_sha256="bb",
            lowering="typed-1",
            scheme="ort-u8s8-8",
            granularity="group",
            space_sha256="cc",
            backend="onnxruntime",
            options={"threads": 1},
            shapes=({"x": (1, 3)},),
            groups=(
                GroupRecipe("a", "conv", Precision.INT8, "d1"),
                GroupRecipe("b", "gemm", Precision.FP32, "d2"),
            ),
            scales=(ScaleRecipe("t", (0.125).hex(), 3),),
        ),
        Criteria(metric="rel-l2", tolerance=1e-2, seed=0, data={"random": False}),
        Evidence(
            version="0.1",
            created="2026-01-01T00:00:00+00:00",
            fingerprint=Fingerprint("onnxruntime"),
            strategy="auto",
            calibration="minmax",
            noise=0.01,
            baseline=latency,
            latency=latency,
            accuracy=Accuracy(math.inf, math.inf),
        ),
    )


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_reading_undoes_writing(made: Plan) -> None:
    text = made.to_json()
    again = Plan.from_json(text)
    assert again == made
    assert again.digest == made.digest
    assert again.notes == ()
    assert again.to_json() == text


@settings(max_examples=60, deadline=None)
@given(RECIPES, RECIPES)
def test_recipes_share_a_digest_if_they_are_equal(a: Recipe, b: Recipe) -> None:
    assert (a.digest == b.digest) == (a == b)


OTHER = {
    **dict.fromkeys(("model_sha256", "materialised_sha256", "space_sha256"), "00"),
    **dict.fromkeys(("lowering", "scheme", "granularity", "backend"), "other"),
    "options": {"threads": 2},
    "shapes": ({"x": (2, 3)},),
    "rewrites": (RewriteRecipe("merge-scales"),),
    "groups": (),
    "formats": {"int8": "int8"},
    "scales": (ScaleRecipe("t", (0.25).hex(), 3),),
    "shifts": (ShiftRecipe("t", "f2:AAA="),),
    "dynamic": ("t",),
}


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Recipe)])
def test_every_field_of_a_recipe_is_in_the_digest(name: str) -> None:
    recipe = plan().recipe
    other = dataclasses.replace(recipe, **{name: OTHER[name]})  # type: ignore[arg-type]
    assert other.digest != recipe.digest


def test_evidence_is_not_in_the_digest() -> None:
    made = plan()
    other = dataclasses.replace(made.evidence, noise=0.2, warnings=("hot",))
    assert dataclasses.replace(made, evidence=other).digest == made.digest


STRICTER = {
    "metric": "max-abs",
    "tolerance": 1e9,
    "seed": 7,
    "data": {"random": True},
    "metric_sha256": "00",
    "baseline": Precision.INT8,
    "shapes": (WeightedShapes({"x": (2, 3)}, 1.0),),
    "objective": "size",
    "max_seconds": 1.0,
    "max_size": 1,
    "max_memory": 1,
}


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Criteria)])
def test_every_criterion_of_verify_is_in_the_digest(name: str) -> None:
    made = plan()
    other = dataclasses.replace(made.criteria, **{name: STRICTER[name]})  # type: ignore[arg-type]
    assert dataclasses.replace(made, criteria=other).digest != made.digest
    document = json.loads(made.to_json())
    changed = json.loads(dataclasses.replace(made, criteria=other).to_json())["criteria"]
    with pytest.raises(PlanError, match="recipe and criteria do not match its digest"):
        Plan.from_json(json.dumps({**document, "criteria": changed}))


def test_edited_evidence_is_read_and_reported() -> None:
    document = json.loads(plan().to_json())
    document["evidence"]["accuracy"]["loss"] = 0.0
    read = Plan.from_json(json.dumps(document))
    assert len(read.notes) == 1
    assert "evidence does not match its digest" in read.notes[0]
    del document["evidence_digest"]
    assert Plan.from_json(json.dumps(document)).notes == read.notes


def test_a_plan_is_written_with_its_evidence_beside_it_and_read_again(tmp_path: Path) -> None:
    made, path = plan(), tmp_path / "m.plan.json"
    path.write_text(made.without_evidence())
    assert evidence_path(path) == tmp_path / "m.evidence.json"
    evidence_path(path).write_text(made.evidence_json())
    read = read_plan(path)
    assert (read, read.notes) == (made, ())
    assert list(json.loads(path.read_text()))[:4] == ["schema", "digest", "recipe", "criteria"]


def test_a_plan_without_evidence_knows_its_recipe_and_refuses_to_tell_what_was_measured(
    tmp_path: Path,
) -> None:
    made, path = plan(), tmp_path / "m.json"
    path.write_text(made.without_evidence())
    read = read_plan(path)
    assert (read.recipe, read.criteria, read.digest) == (made.recipe, made.criteria, made.digest)
    assert not read.has_evidence
    assert read.without_evidence() == read.to_json() == made.without_evidence()
    (note,) = read.notes
    assert "what was measured is not known, since" in note
    assert "m.evidence.json" in note
    for known in (lambda: read.evidence.noise, read.evidence_json):
        with pytest.raises(PlanError, match=r"m\.evidence\.json.* is missing"):
            known()


def test_evidence_of_another_plan_is_not_taken_and_edited_evidence_is_reported(
    tmp_path: Path,
) -> None:
    made, path = plan(), tmp_path / "m.plan.json"
    path.write_text(made.without_evidence())
    other = dataclasses.replace(made, criteria=dataclasses.replace(made.criteria, seed=5))
    evidence_path(path).write_text(other.evidence_json())
    read = read_plan(path)
    assert not read.has_evidence
    assert "is the evidence of another plan" in read.notes[0]
    hot = dataclasses.replace(made.evidence, warnings=("hot",))
    evidence_path(path).write_text(dataclasses.replace(made, evidence=hot).evidence_json())
    read = read_plan(path)
    assert read.evidence.warnings == ("hot",)
    assert "evidence does not match its digest" in read.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "not a JSON object"),
        ("{}", "is not the evidence of a plan"),
        ("{", "not valid JSON"),
        ("\udcff", "not text"),
    ],
)
def test_a_file_in_the_place_of_the_evidence_that_is_not_evidence_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "m.plan.json"
    path.write_text(plan().without_evidence())
    evidence_path(path).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PlanError, match=message):
        read_plan(path)


def test_malformed_evidence_names_the_place(tmp_path: Path) -> None:
    made, path = plan(), tmp_path / "m.plan.json"
    path.write_text(made.without_evidence())
    document = json.loads(made.evidence_json())
    document["evidence"]["noise"] = "loud"
    evidence_path(path).write_text(json.dumps(document))
    with pytest.raises(PlanError, match="is malformed: at 'noise'"):
        read_plan(path)


def as_schema_1() -> dict[str, Any]:
    """The plan as the first schema had it."""
    document: dict[str, Any] = json.loads(plan().to_json())
    criteria = document.pop("criteria")
    del document["evidence_digest"]
    moved = {name: criteria[name] for name in ("metric", "tolerance", "seed", "data")}
    evidence = {**document["evidence"], **moved}
    return {**document, "schema": 1, "digest": plan().recipe.digest, "evidence": evidence}


def test_a_plan_of_the_first_schema_is_read_and_reported() -> None:
    read = Plan.from_json(json.dumps(as_schema_1()))
    assert read == plan()
    assert "has schema 1, whose digest does not cover what verify judges by" in read.notes[0]
    assert "'rel-l2' up to 0.01" in read.notes[0]
    assert Plan.from_json(read.to_json()).notes == ()
    edited = as_schema_1()
    edited["recipe"]["backend"] = "other"
    with pytest.raises(PlanError, match="the plan's recipe does not match its digest"):
        Plan.from_json(json.dumps(edited))


def test_shapes_of_a_plan_of_the_first_schema_are_criteria_of_their_own() -> None:
    old = as_schema_1()
    rows = [
        {"shapes": {"x": [n, 3]}, "weight": w, "samples": n, "seconds": 1.0, "ratio": 1.0}
        for n, w in ((1, 0.75), (8, 0.25))
    ]
    old["evidence"]["latency"]["by_shape"] = rows
    read = Plan.from_json(json.dumps(old))
    found = [(dict(s.shapes), s.weight) for s in read.criteria.shapes]
    assert found == [({"x": (1, 3)}, 0.75), ({"x": (8, 3)}, 0.25)]


def test_a_change_of_one_group_is_a_change_of_one_line() -> None:
    made = plan()
    text = made.to_json()
    assert text.endswith("}\n")
    assert [line.strip() for line in text.splitlines() if '"kind"' in line] == [
        '{"key": "a", "precision": "int8", "kind": "conv", "digest": "d1"},',
        '{"key": "b", "precision": "fp32", "kind": "gemm", "digest": "d2"}',
    ]
    first, second = made.recipe.groups
    other = dataclasses.replace(second, precision=Precision.INT8)
    changed = dataclasses.replace(made.recipe, groups=(first, other))
    before = text.splitlines()
    after = dataclasses.replace(made, recipe=changed).to_json().splitlines()
    differing = [a for a, b in zip(after, before, strict=True) if a != b]
    assert [line.split(":")[0].strip() for line in differing] == ['"digest"', '{"key"']


def test_the_text_does_not_depend_on_the_order_of_mappings() -> None:
    recipe = plan().recipe
    a = dataclasses.replace(recipe, options={"a": 1, "b": 2}, shapes=({"x": (1,), "y": (2,)},))
    b = dataclasses.replace(recipe, options={"b": 2, "a": 1}, shapes=({"y": (2,), "x": (1,)},))
    assert a.digest == b.digest
    texts = {dataclasses.replace(plan(), recipe=r).to_json() for r in (a, b)}
    assert len(texts) == 1


def test_no_number_is_beyond_json() -> None:
    text = plan().to_json()
    assert json.loads(text, parse_constant=pytest.fail)["evidence"]["accuracy"]["loss"] == "inf"


def edited(change: Any) -> str:
    data = json.loads(plan().to_json())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": ' + "1" * 5000 + "}", "not valid JSON"),
        ('{"schema": 1, "schema": 1}', "names a key twice"),
        ('{"schema": NaN}', "holds NaN, which is not JSON"),
        ('{"schema": 1, "recipe": {"options": {"x": -Infinity}}}', "holds -Infinity"),
        ('{"schema": 1}', "malformed: expected an object, not null"),
        (edited(lambda d: d.update(schema=3)), "has schema 3, this version reads 2"),
        (edited(lambda d: d.update(schema="1")), "has schema '1', this version reads 2"),
        (edited(lambda d: d.pop("schema")), "has schema None"),
        (edited(lambda d: d.update(extra=1)), "an unknown key 'extra'"),
        (edited(lambda d: d["recipe"].update(extra=1)), "unknown key 'extra'"),
        (edited(lambda d: d["recipe"]["groups"][0].update(extra=1)), "unknown key 'extra'"),
        (edited(lambda d: d["evidence"].update(extra=1)), "unknown key 'extra'"),
        (edited(lambda d: d["recipe"].pop("backend")), "'backend' is missing"),
        (edited(lambda d: d["recipe"]["groups"][0].update(precision="int3")), '"int3"'),
        (edited(lambda d: d["recipe"]["groups"][0].update(key=3)), "expected a string, not 3"),
        (edited(lambda d: d["criteria"].update(seed=1.5)), "expected a whole number, not 1.5"),
        (edited(lambda d: d["recipe"]["groups"][0].update(precision="fp32")), "edited by hand"),
        (edited(lambda d: d.pop("digest")), "edited by hand"),
        (edited(lambda d: d.update(digest=["x"])), "edited by hand"),
    ],
)
def test_a_bad_plan_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(PlanError) as caught:
        Plan.from_json(text)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_bad_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    for data, said in ((b"\xff\xfe\x00", "not text"), (None, "cannot be read"), (b"", "JSON")):
        path.unlink(missing_ok=True)
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(PlanError, match=said):
            read_plan(path)
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(PlanError, match="too large"):
        read_plan(path)
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path)
