"""What exporters write is searched like its plain form; what is not searched is reported."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch import api
from precsearch.api import OptimizeConfig, inspect
from precsearch.cli.output.inspect import inspect_lines
from precsearch.cli.output.page import Page
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.optimization.preview.counted import with_work
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target
from tests.graph.plain_runs import lowered, ran
from tests.graph.small_layers import SCHEME, GraphBuilder, view
from tests.odd.models import exported

Make = Callable[..., onnx.ModelProto]
FORMS: dict[str, Make] = {
    name: getattr(exported, name)
    for name in ("hidden_weights", "shared_biases", "local_functions", "einsum_attention")
}


def feed_of(model: onnx.ModelProto, samples: int = 2) -> dict[str, Any]:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    shape = (samples, *(d.dim_value for d in dims[1:]))
    return {"in0": np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)}


def said(model: Path, data: Path | None = None) -> str:
    found = inspect(model, backend="onnxruntime", data=data)
    return "\n".join(line.plain for line in inspect_lines(found, Page(200)))


@pytest.mark.parametrize("name", sorted(FORMS))
def test_an_exported_form_has_the_groups_of_its_plain_form(name: str, tmp_path: Path) -> None:
    found = []
    for plain in (False, True):
        path = tmp_path / f"{plain}.onnx"
        onnx.save(FORMS[name](plain=plain), path)
        looked = inspect(path, backend="onnxruntime")
        found.append([(g.kind, len(g.nodes), g.choices, g.macs) for g in looked.space.groups])
        assert not looked.counted.undecided
        assert looked.counted.total == looked.counted.decidable
        assert "MACs a sample (n = 1), all to decide" in said(path)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", sorted(FORMS))
def test_an_exported_form_computes_the_same_in_fp32(name: str) -> None:
    model, plain = (FORMS[name](plain=p) for p in (False, True))
    feed = feed_of(model)
    (mine,) = ran(lowered(view(model)), feed)
    for other in (model, plain):
        (wanted,) = ran(other.SerializeToString(), feed)
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-5)


def test_a_plan_of_an_exported_model_replays_and_names_the_original(tmp_path: Path) -> None:
    model, data = tmp_path / "m.onnx", tmp_path / "data.npz"
    onnx.save(exported.hidden_weights(plain=False), model)
    np.savez(data, **feed_of(exported.hidden_weights(plain=False), 32))
    plan = api.optimize(
        model, data=data, output=tmp_path / "p.json", backend="onnxruntime", tol=0.5, threads=1,
        max_builds=2,
    ).plan  # fmt: skip
    assert plan.recipe.model_sha256 == read_model(model).digest
    report = api.build(tmp_path / "p.json", model, tmp_path / "out.onnx")
    assert report.verdict == "identical"


# What is told.


def test_layers_within_an_if_are_reported_by_inspect_and_before_a_search(tmp_path: Path) -> None:
    model, data = tmp_path / "m.onnx", tmp_path / "data.npz"
    onnx.save(exported.in_branches(), model)
    rng = np.random.default_rng(0)
    np.savez(data, in0=rng.normal(0, 1, (8, 1, 16)).astype(np.float32), in1=np.ones((8, 1), bool))
    sentence = "8 layers (8 MatMul) are inside of If 't0', where precsearch does not search"
    assert sentence in said(model)
    target = open_target(read_model(model), "onnxruntime", None, "group", 1)
    config = OptimizeConfig(model=model, data=data)
    inputs = open_inputs(config, target.graph)
    assert any(sentence in w for w in inputs.warnings(1e-2))
    onnx.save(exported.shared_biases(plain=False), model)
    assert "inside of" not in said(model)


def test_a_layer_without_a_choice_is_reported_with_its_share_of_the_work(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.op("Conv", b.input([1, 8, 6, 6]), b.weight(16, 8, 1, 1))
    b.output(b.op("ConvTranspose", x, b.weight(16, 4, 2, 2), strides=[2, 2]))
    onnx.save(b.model(), tmp_path / "m.onnx")
    text = said(tmp_path / "m.onnx")
    assert "13.8k MACs a sample, 4.61k (33 %) to decide" in text
    assert "t1  ConvTranspose: this backend has no INT8 form of ConvTranspose" in text
    assert "1 layer without a choice" in text


def open_block() -> onnx.ModelProto:
    """Two Conv over open heights and widths, with a reshape by the shape of a tensor between."""
    b = GraphBuilder()
    x = b.op("Conv", b.input(["n", 4, "h", "w"]), b.weight(32, 4, 3, 3), pads=[1, 1, 1, 1])
    flat = b.op("Reshape", x, b.ints(0, 8, -1))
    x = b.op("Reshape", b.op("Relu", flat), b.op("Shape", x))
    b.output(b.op("Conv", x, b.weight(32, 32, 3, 3), pads=[1, 1, 1, 1]))
    model = b.model()
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "n"
    return model


def test_open_sizes_are_marked_and_those_of_the_data_are_counted(tmp_path: Path) -> None:
    model, data = tmp_path / "m.onnx", tmp_path / "data.npz"
    onnx.save(open_block(), model)
    np.savez(data, in0=np.zeros((4, 4, 16, 16), np.float32))
    alone = said(model)
    assert "at least 10.4k MACs a sample (n = 1): sizes are open (+); --data tells them" in alone
    assert "9.22k+" in alone
    text = said(model, data)
    assert "2.65M MACs a sample, all to decide" in text
    assert "2.36M" in text
    assert "+" not in text
    target = open_target(read_model(model), "onnxruntime", None, "group", 1)
    inputs = open_inputs(OptimizeConfig(model=model, data=data), target.graph)
    counted = with_work(target, inputs).space
    assert max(g.macs for g in counted.groups) == 32 * 32 * 9 * 256
    assert counted.digest == target.space.digest


# Large models.


def calls(nodes: int) -> int:
    """Python calls that it takes to prepare and group a chain, alternating so that it repeats."""
    b = GraphBuilder()
    x = b.input(["n", 4])
    for i in range(nodes):
        x = b.op("Relu" if i % 3 else "Abs", x)
    b.output(x)
    model = b.model()
    profile = cProfile.Profile()
    profile.enable()
    group(view(model), SCHEME, frozenset({Precision.FP32, Precision.INT8}))
    profile.disable()
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_preparing_and_grouping_takes_a_fixed_number_of_calls_a_node() -> None:
    few, many = calls(300), calls(3000)
    assert many < 11 * few
    assert many < 600 * 3000
