"""What viewers show of a plan."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from precsearch import api
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.plan.plan import read_plan
from tests.backends.trt.stand_in.exported import odd_model
from tests.backends.trt.stand_in.plans import write_plan

ASKED = {"second": "int8", "fi,rst": "fp16"}


def test_model_explorer_gets_a_label_and_a_colour_for_each_node(
    tmp_path: Path,
) -> None:
    plan = write_plan(tmp_path, odd_model(), "weak", ASKED)
    report = api.export(plan, None, "model-explorer", tmp_path / "shown")
    assert report.identical
    model = onnx.load(str(report.model))
    ((graph, data),) = json.loads(report.script.read_text()).items()
    assert graph == model.graph.name
    nodes = {node.name: node for node in model.graph.node}
    assert data["results"].keys() <= nodes.keys()
    wanted = {p.value for _, p in read_plan(plan).recipe.assignment.entries}
    labels = {row["value"] for row in data["results"].values()}
    assert wanted <= labels
    for name, row in data["results"].items():
        assert row.keys() == {"value", "bgColor", "textColor"}
        assert re.fullmatch("#[0-9a-f]{6}", row["bgColor"])
        converts = nodes[name].op_type in ("Cast", "QuantizeLinear", "DequantizeLinear")
        assert (row["value"] == "conversion") == converts
        precision = Precision.named(row["value"])
        assert precision is None or row["bgColor"] == precision.spec.colour


def test_netron_gets_a_copy_whose_nodes_carry_notes_and_which_computes_the_same(
    tmp_path: Path,
) -> None:
    plan = write_plan(tmp_path, odd_model(), "weak", ASKED)
    plain = api.export(plan, None, "model-explorer", tmp_path / "shown").model
    report = api.export(plan, None, "netron", tmp_path / "shown")
    assert not report.identical
    assert report.script == report.model
    noted = onnx.load(str(report.model))
    notes = [{p.key: p.value for p in node.metadata_props} for node in noted.graph.node]
    groups = {g.key: g.precision.value for g in read_plan(plan).recipe.groups}
    told = [n for n in notes if n]
    assert told
    for note in told:
        label = note["precsearch.precision"]
        assert label in ("conversion", groups[note["precsearch.group"]])
    assert {n["precsearch.group"] for n in told} == groups.keys()
    for node in noted.graph.node:
        del node.metadata_props[:]
    assert noted == onnx.load(str(plain))


def test_an_unknown_tool_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="model-explorer, netron"):
        api.export(tmp_path / "p.json", None, "paint", tmp_path / "shown")
