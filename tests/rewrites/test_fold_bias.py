"""What follows a convolution is folded into it: FP32 stays, INT8 rounds once instead of twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import precsearch
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.grouping.control import Control, pin
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.rewrites import with_rewrites
from precsearch.rewrites.fold_bias import FOLD_BIAS, fold_bias_fits
from precsearch.setup.config import OptimizeConfig
from tests.rewrites.scalable_models import CHANNELS, Chain, conv

SHAPES = {
    "channel": (1, CHANNELS, 1, 1),
    "channel without batch": (CHANNELS, 1, 1),
    "number": (),
    "position": (1, 1, 1, 4),
    "row": (4,),
    "everything": (1, CHANNELS, 4, 4),
}
FOLDED = ("channel", "channel without batch", "number")


def shift(chain: Chain, op_type: str, shape: str, first: bool = False) -> None:
    constant = chain.weight(*SHAPES[shape], low=0.3, high=1.7)
    operands = [constant, chain.tensor] if first else [chain.tensor, constant]
    chain.node(op_type, operands)


def bare_conv(chain: Chain, transposed: bool = False, groups: int = 1) -> None:
    weight = chain.weight(CHANNELS, CHANNELS // groups, 3, 3)
    name = "ConvTranspose" if transposed else "Conv"
    chain.node(name, [chain.tensor, weight], group=groups, pads=[1, 1, 1, 1])


def source_of(model: onnx.ModelProto) -> SourceModel:
    return SourceModel(Path("model.onnx"), model, "", ())


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    return with_rewrites(source_of(model), [(FOLD_BIAS, {})]).proto


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options)
    x = np.random.default_rng(0).normal(0, 1, (2, CHANNELS, 4, 4)).astype(np.float32)
    found: list[np.ndarray] = session.run(None, {"x": x})
    return found


def operators(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["conv", "conv with bias", "transposed", "grouped", "identity", "relu"]),
        st.tuples(st.sampled_from(["Add", "Mul"]), st.sampled_from(sorted(SHAPES)), st.booleans()),
        st.sampled_from(["output", "residual"]),
    ),
    min_size=3,
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 99))
def test_fp32_does_not_change_whatever_is_folded(steps: list[object], seed: int) -> None:
    chain, outputs = Chain(seed), list[str]()
    bare_conv(chain)
    for step in steps:
        before = chain.tensor
        if isinstance(step, tuple):
            shift(chain, *step)
        elif step == "output":
            outputs.append(chain.tensor)
        elif step == "residual":
            bare_conv(chain)
            chain.node("Add", [chain.tensor, before])
        elif step == "conv with bias":
            conv(chain)
        elif step in ("relu", "identity"):
            chain.node(step.capitalize(), [chain.tensor])
        else:
            bare_conv(chain, step == "transposed", 2 if step == "grouped" else 1)
    model = chain.model([2, CHANNELS, 4, 4])
    for name in dict.fromkeys(outputs):
        if name != chain.tensor:
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            model.graph.output.append(value)
    first, second = folded(model), folded(model)
    assert first.SerializeToString() == second.SerializeToString()
    for wanted, found in zip(run(model), run(first), strict=True):
        difference = np.linalg.norm(np.float64(found) - wanted)
        assert difference <= 1e-6 * max(float(np.linalg.norm(np.float64(wanted))), 1e-30)


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("op_type", ["Add", "Mul"])
def test_only_what_is_the_same_at_every_position_is_folded(shape: str, op_type: str) -> None:
    chain = Chain(0)
    bare_conv(chain)
    shift(chain, op_type, shape, first=True)
    chain.node("Relu", [chain.tensor])
    made = operators(folded(chain.model([2, CHANNELS, 4, 4])))
    assert made == (["Conv", "Relu"] if shape in FOLDED else ["Conv", op_type, "Relu"])


def test_the_result_has_the_name_of_the_last_node_that_was_folded() -> None:
    chain = Chain(0)
    bare_conv(chain)
    chain.node("Identity", [chain.tensor])
    shift(chain, "Add", "channel")
    last = chain.tensor
    chain.node("Identity", [chain.tensor])
    chain.node("Relu", [chain.tensor])
    graph = prepare(with_rewrites(source_of(chain.model([2, CHANNELS, 4, 4])), [(FOLD_BIAS, {})]))
    assert [(n.op_type, n.key) for n in graph.nodes] == [("Conv", last), ("Relu", chain.tensor)]


def test_a_convolution_that_something_else_reads_keeps_its_output() -> None:
    chain = Chain(0)
    bare_conv(chain)
    before = chain.tensor
    shift(chain, "Add", "channel")
    chain.node("Mul", [chain.tensor, before])
    model = chain.model([2, CHANNELS, 4, 4])
    assert operators(folded(model)) == operators(model)


def test_a_tensor_that_a_subgraph_reads_stays() -> None:
    chain = Chain(0)
    bare_conv(chain)
    same = chain.node("Identity", [chain.tensor])
    shift(chain, "Add", "channel")
    last = chain.tensor
    out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Neg", [same], ["inner"])], "body", [], [out])
    always = chain.constant(np.array(True))
    chain.node("If", [always], then_branch=body, else_branch=body)
    chain.node("Add", [chain.tensor, last])
    model = chain.model([2, CHANNELS, 4, 4])
    for wanted, found in zip(run(model), run(folded(model)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_models_with_nothing_to_fold_are_recognized_at_once() -> None:
    chain = Chain(0)
    conv(chain)
    chain.node("Relu", [chain.tensor])
    conv(chain)
    assert not fold_bias_fits(chain.model([2, CHANNELS, 4, 4]))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OptimizeConfig:
    monkeypatch.chdir(tmp_path)
    chain = Chain(0)
    for _ in range(2):
        bare_conv(chain)
        shift(chain, "Add", "channel")
        chain.node("Relu", [chain.tensor])
    bare_conv(chain)
    shift(chain, "Add", "channel")
    onnx.save(chain.model([2, CHANNELS, 4, 4]), "model.onnx")
    x = np.random.default_rng(0).normal(0, 1, (8, 2, CHANNELS, 4, 4)).astype(np.float32)
    np.savez("data.npz", x=x)
    return OptimizeConfig(Path("model.onnx"), Path("data.npz"), backend="onnxruntime", threads=1)


def rewrites(config: OptimizeConfig) -> tuple[str, ...]:
    target, _, _ = open_rewritten(config, read_model(config.model))
    return tuple(name for name, _ in target.rewrites)


def test_a_search_with_int8_folds_unless_corrections_are_off(place: OptimizeConfig) -> None:
    assert rewrites(place) == (FOLD_BIAS,)
    assert rewrites(dataclasses.replace(place, corrections=())) == ()


def test_nothing_is_folded_where_the_user_pinned_a_node_that_would_vanish(
    place: OptimizeConfig,
) -> None:
    inner = onnx.load("model.onnx").graph.node[0].output[0]
    control = Control((pin(inner, "fp32"),))
    assert rewrites(dataclasses.replace(place, control=control)) == ()


def test_a_plan_with_folded_biases_is_replayed_byte_for_byte(place: OptimizeConfig) -> None:
    precsearch.optimize(
        place.model, place.data, tol=0.5, backend="onnxruntime", threads=1, strategy="uniform",
        output="plan.json",
    )  # fmt: skip
    report = precsearch.build("plan.json", "model.onnx", "fast.onnx")
    assert report.verdict == "identical"
    assert "Add" not in operators(onnx.load("fast.onnx"))
