"""Refusals that name their reason, and commands that say what they did not write."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import convert_model_to_external_data

import precsearch
from precsearch import api
from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.main import run
from precsearch.codec import structure
from precsearch.core.errors import OptionError, PrecsearchError, ReplayError
from precsearch.core.events import Event, Warned
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.plan.schema import event_schema, event_tables, plan_schema
from precsearch.setup.inputs import open_inputs
from tests.backends.trt.stand_in.plans import write_plan
from tests.cli.runs import plan
from tests.diagnosis.sick_models import SHAPE, overflowing, underflowing
from tests.graph.small_graphs import GraphBuilder, gemm_head, linear, view


@pytest.mark.parametrize("external", [True, False])
def test_a_model_that_differs_in_parts_outside_of_the_plan_is_reported_as_such(
    external: bool, tmp_path: Path
) -> None:
    model = gemm_head()
    if external:
        convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    path = write_plan(tmp_path, model, "typed", {})
    assert api.build(path, None, tmp_path / "a.onnx").size > 0
    noted = onnx.load(tmp_path / "small.onnx", load_external_data=False)
    noted.doc_string = "another note"
    (tmp_path / "small.onnx").write_bytes(noted.SerializeToString())
    said = "its external weights differ" if external else "what this plan leaves no trace of"
    with pytest.raises(ReplayError, match=said):
        api.build(path, None, tmp_path / "b.onnx")


def test_a_model_of_other_layers_is_reported_as_such(tmp_path: Path) -> None:
    path = write_plan(tmp_path, gemm_head(), "typed", {})
    b = GraphBuilder()
    b.output(linear(b, b.input(["n", 12]), 12, 4))
    onnx.save(b.model(), tmp_path / "small.onnx")
    with pytest.raises(ReplayError, match="its layers are others"):
        api.build(path, None, tmp_path / "b.onnx")


@pytest.mark.parametrize(
    ("what", "made"),
    [([], plan_schema), (["events"], event_schema), (["tables"], event_tables)],
)
def test_the_schemas_are_printed_by_their_module(
    what: list[str],
    made: object,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["precsearch.plan.schema", *what])
    monkeypatch.delitem(sys.modules, "precsearch.plan.schema")
    runpy.run_module("precsearch.plan.schema", run_name="__main__")
    out = capsys.readouterr().out
    wanted = made()  # type: ignore[operator]
    assert (out if what == ["tables"] else json.loads(out)) == wanted


@pytest.mark.parametrize(
    ("data", "said"), [([1, "a", 2], "expected 2 entries, not 3"), ([], "2 entries, not 0")]
)
def test_a_pair_has_two_entries(data: list[object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        structure(data, tuple[int, str])
    assert structure([1, "a"], tuple[int, str]) == (1, "a")


@pytest.mark.parametrize("interrupted", [True, False])
def test_the_function_raises_the_error_that_the_command_prints(
    interrupted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events(config: OptimizeConfig) -> Generator[Event, None, OptimizeResult]:
        assert config.model == Path("m.onnx")
        yield Warned("hm")
        found = plan() if interrupted else None
        return OptimizeResult(found, None, None, False, interrupted, ("FP32 is off",))

    monkeypatch.setattr("precsearch.api.optimizing.optimize_events", events)
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").touch()
    kind: type[BaseException] = KeyboardInterrupt if interrupted else PrecsearchError
    with pytest.raises(kind, match=None if interrupted else "FP32 is off"):
        precsearch.optimize("m.onnx")


@pytest.fixture
def sick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(underflowing(), tmp_path / "log.onnx")
    onnx.save(overflowing(), tmp_path / "overflow.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(0, 1, (4, *SHAPE[1:])).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("model", ["log", "overflow"])
def test_a_rewritten_model_is_written_or_its_lack_is_said(
    model: str, sick: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"diagnose {model}.onnx --data data.npz --suggest --rewritten c.onnx --csv t.csv"
    assert run(line.split()) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "table t.csv" in out
    repaired = model == "overflow"
    assert (sick / "c.onnx").exists() == repaired
    assert ("rewritten c.onnx" in out) == repaired
    assert ("no rewrite fits this model, so none was written" in out) != repaired


def test_without_memory_for_tensors_there_is_no_diagnosis(sick: Path) -> None:
    with pytest.raises(OptionError, match="--memory takes megabytes of at least 1, not 0"):
        diagnose(DiagnoseConfig(sick / "log.onnx", sick / "data.npz", memory_mb=0))


@pytest.mark.parametrize(("tolerance", "told"), [(0.01, True), (0.5, False)])
def test_too_few_samples_for_the_tolerance_are_reported(
    tolerance: float, told: bool, tmp_path: Path
) -> None:
    onnx.save(gemm_head(), tmp_path / "m.onnx")
    rows = np.random.default_rng(0).standard_normal((16, 12)).astype(np.float32)
    np.savez(tmp_path / "d.npz", in0=rows)
    config = OptimizeConfig(tmp_path / "m.onnx", tmp_path / "d.npz", metric="top1-agree")
    inputs = open_inputs(config, prepare(read_model(tmp_path / "m.onnx")))
    assert any("give more samples" in s for s in inputs.warnings(tolerance)) == told


def test_what_the_bodies_of_an_unknown_node_read_is_captured() -> None:
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    inner = helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["n", 8])
    bodies = [
        helper.make_graph([helper.make_node("Relu", [x], ["inner"])], "body", [], [inner]),
    ]
    y = b.op("Pick", b.input(["n", 8]), domain="com.example", bodies=bodies)
    b.output(linear(b, y, 8, 4))
    graph = view(b.model())
    (pick,) = [n for n in graph.nodes if n.op_type == "Pick"]
    assert pick.captures == {x}
    assert graph.only_user(x) is None, "what a body reads must keep its name and type"


@pytest.mark.parametrize("external", [True, False])
def test_an_old_model_of_small_external_weights_is_raised(external: bool, tmp_path: Path) -> None:
    b = GraphBuilder(11)
    x = b.input(["n", 12])
    b.output(b.op("Gemm", x, b.weight(12, 4), b.weight(4)))
    model = b.model()
    if external:
        convert_model_to_external_data(model, location="w.bin", size_threshold=0)
    onnx.save(model, tmp_path / "m.onnx")
    graph = prepare(read_model(tmp_path / "m.onnx"), 13)
    assert graph.opsets[""] >= 13
    held = {w.array.shape: np.asarray(w.array) for w in graph.weights.values()}
    for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer:
        wanted = onnx.numpy_helper.to_array(tensor)
        np.testing.assert_array_equal(held[wanted.shape], wanted)
