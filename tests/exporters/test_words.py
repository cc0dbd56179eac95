"""Every build option of a plan is a word of the exported script, and names stay apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from precsearch import api
from precsearch.backends.tensorrt.layer_precisions import renamed
from precsearch.core.errors import OptionError
from precsearch.lowering.engines.annotate import METADATA_KEY
from precsearch.plan.plan import Plan, read_plan
from tests.backends.trt.simulation.test_simulated_build import small_model
from tests.backends.trt.stand_in.exported import HELP, MIXED, open_model, option, ran
from tests.backends.trt.stand_in.plans import write_plan


def words(
    folder: Path, to: str, form: str, build: dict[str, str], asked: dict[str, str] | None = None
) -> list[str]:
    """What the script of a plan tells the program."""
    plan = write_plan(folder, small_model(), form, MIXED if asked is None else asked, build)
    report = api.export(plan, None, to, folder / "out")
    code, said, error = ran(report.script, HELP["10"], folder / "bin")
    assert code == 0, error
    return said


@pytest.mark.parametrize(
    ("sources", "trtexec", "polygraphy"),
    [
        ("default", None, None),
        (
            "none",
            "-CUBLAS,-CUBLAS_LT,-CUDNN,-EDGE_MASK_CONVOLUTIONS,-JIT_CONVOLUTIONS",
            [],
        ),
        (
            "cublas+jit_convolutions",
            "+CUBLAS,-CUBLAS_LT,-CUDNN,-EDGE_MASK_CONVOLUTIONS,+JIT_CONVOLUTIONS",
            ["CUBLAS", "JIT_CONVOLUTIONS"],
        ),
    ],
)
def test_tactic_sources(
    sources: str, trtexec: str | None, polygraphy: list[str] | None, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    build = {"tactic_sources": sources}
    said = words(tmp_path / "a", "trtexec", "weak", build)
    assert [w for w in said if w.startswith("--tacticSources")] == (
        [] if trtexec is None else [f"--tacticSources={trtexec}"]
    )
    said = words(tmp_path / "b", "polygraphy", "weak", build)
    if polygraphy is None:
        assert "--tactic-sources" not in said
    else:
        at = said.index("--tactic-sources") + 1
        assert said[at : at + len(polygraphy)] == polygraphy
        assert said[at + len(polygraphy)].startswith("--")


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32(tf32: bool, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    build = {"tf32": str(tf32).lower(), "optimization_level": "5", "workspace_mib": "64"}
    said = words(tmp_path / "a", "trtexec", "typed-half", build)
    assert ("--noTF32" in said) != tf32
    assert option(said, "builderOptimizationLevel") == "5"
    assert option(said, "memPoolSize") == "workspace:64"
    said = words(tmp_path / "b", "polygraphy", "typed-half", build)
    assert ("--tf32" in said) == tf32
    assert "--strongly-typed" in said
    assert said[said.index("--pool-limit") + 1] == "workspace:64M"


def test_a_plan_that_lowers_nothing_sets_no_layer(tmp_path: Path) -> None:
    said = words(tmp_path, "trtexec", "weak", {}, {})
    assert not [w for w in said if w.startswith(("--layer", "--precisionConstraints"))]
    assert not {"--fp16", "--int8"} & set(said)
    (tmp_path / "p").mkdir()
    said = words(tmp_path / "p", "polygraphy", "weak", {}, {})
    assert "--precision-constraints" not in said
    assert "--trt-network-postprocess-script" in said


def test_an_onnx_runtime_plan_of_fixed_shapes_names_no_shape(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, small_model(), "typed", {})
    report = api.export(plan, None, "polygraphy", tmp_path / "fixed")
    _, said, _ = ran(report.script, "", tmp_path / "bin")
    assert "--onnxrt" in said
    assert "--input-shapes" not in said
    (tmp_path / "o").mkdir()
    plan = write_plan(tmp_path / "o", open_model(), "typed", {})
    report = api.export(plan, None, "polygraphy", tmp_path / "open")
    _, said, _ = ran(report.script, "", tmp_path / "bin")
    assert said[said.index("--input-shapes") + 1] == "x:[2,3,4,4]"


def test_new_names_differ_from_existing_ones() -> None:
    names = ["a:b", "a*b", "a_b", "a_b_1", "a_b_6_0", "plain"]
    nodes = [onnx.helper.make_node("Relu", [n], [f"{n}.y"], n) for n in names]
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))
    for key, value in ((METADATA_KEY, json.dumps({"fp16": ["a:b"], "free": []})), ("more", "[]")):
        model.metadata_props.add(key=key, value=value)
    changed = renamed(model, names, 10_000)
    made = [n.name for n in model.graph.node]
    assert set(changed) == {"a:b", "a*b"}
    assert len(set(made)) == len(names)
    assert made[2:] == names[2:]
    notes = {p.key: p.value for p in model.metadata_props}
    assert json.loads(notes[METADATA_KEY])["fp16"] == [changed["a:b"]]
    assert notes["more"] == "[]"


def test_an_input_of_several_shapes_has_the_smallest_the_first_and_the_largest(
    tmp_path: Path,
) -> None:
    path = write_plan(tmp_path, open_model(), "weak", MIXED)
    plan = read_plan(path)
    sets = tuple({"x": (size, 3, 4, 4)} for size in (4, 1, 16))
    recipe = replace(plan.recipe, shapes=sets)
    path.write_text(Plan(recipe, plan.criteria, plan.evidence).to_json(), encoding="utf-8")
    report = api.export(path, None, "trtexec", tmp_path / "out")
    _, said, _ = ran(report.script, HELP["10"], tmp_path / "bin")
    assert {k: option(said, k) for k in ("shapes", "minShapes", "optShapes", "maxShapes")} == {
        "shapes": "x:4x3x4x4",
        "minShapes": "x:1x3x4x4",
        "optShapes": "x:4x3x4x4",
        "maxShapes": "x:16x3x4x4",
    }


def test_an_input_that_trtexec_cannot_take_is_reported(tmp_path: Path) -> None:
    model = open_model()
    model.graph.input[0].name = "x:0"
    for node in model.graph.node:
        node.input[:] = ["x:0" if t == "x" else t for t in node.input]
    plan = write_plan(tmp_path, model, "weak", MIXED)
    with pytest.raises(OptionError, match="cannot be told the shape of input 'x:0'"):
        api.export(plan, None, "trtexec", tmp_path / "out")
    report = api.export(plan, None, "polygraphy", tmp_path / "other")
    _, said, _ = ran(report.script, "", tmp_path / "bin")
    assert said[said.index("--trt-min-shapes") + 1] == "x:0:[2,3,4,4]"
