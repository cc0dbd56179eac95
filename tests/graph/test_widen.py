"""A model exported in 16 bits is read in FP32: same weights and ends, choices for every layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.graph.encode import rounded
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.graph.reading.widen import widened
from precsearch.grouping.group import group
from tests.graph.small_graphs import conditional, transformer
from tests.lowering.golden import SCHEME
from tests.odd.models.odd_models import retyped

KINDS: dict[int, Precision] = {
    TensorProto.FLOAT16: Precision.FP16,
    TensorProto.BFLOAT16: Precision.BF16,
}


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def run(model: onnx.ModelProto, **feed: np.ndarray) -> list[np.ndarray]:
    data = model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    return [np.asarray(v) for v in session.run(None, feed)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(KINDS[kind]))
def test_a_transformer_of_16_bits_has_the_groups_of_its_fp32_export(
    kind: int, tmp_path: Path
) -> None:
    read = read_model(saved(retyped(transformer(mask=False), kind), tmp_path))
    assert read.exported is KINDS[kind]
    assert read.exported.value.upper() in read.notes[0]
    onnx.checker.check_model(read.proto, full_check=True)
    offered = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
    found = group(prepare(read), SCHEME, offered)
    wanted = group(prepare(read_model(saved(transformer(mask=False), tmp_path))), SCHEME, offered)
    assert [(g.kind, g.choices) for g in found.free] == [(g.kind, g.choices) for g in wanted.free]
    assert found.free


def test_inputs_and_outputs_keep_their_types_and_values_come_near(tmp_path: Path) -> None:
    model = retyped(transformer(mask=False), TensorProto.FLOAT16)
    wide = read_model(saved(model, tmp_path)).proto
    ends = [[(v.name, v.type) for v in (*m.graph.input, *m.graph.output)] for m in (model, wide)]
    assert ends[0] == ends[1]
    (given,) = model.graph.input
    shape = [d.dim_value or 2 for d in given.type.tensor_type.shape.dim]
    feed = np.random.default_rng(0).normal(0, 1, shape).astype(np.float16)
    (found,), (narrow,) = run(wide, **{given.name: feed}), run(model, **{given.name: feed})
    assert found.dtype == narrow.dtype == np.float16
    np.testing.assert_allclose(found.astype(np.float32), narrow.astype(np.float32), 0.05, 0.05)


def test_weights_are_exactly_those_of_the_file(tmp_path: Path) -> None:
    model = retyped(transformer(mask=False), TensorProto.FLOAT16)
    wide = read_model(saved(model, tmp_path)).proto
    own = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for tensor in wide.graph.initializer:
        if own[tensor.name].dtype == np.float16:
            assert tensor.data_type == TensorProto.FLOAT
            np.testing.assert_array_equal(numpy_helper.to_array(tensor), own[tensor.name])


def test_a_cast_between_floats_rounds_no_more(tmp_path: Path) -> None:
    node = helper.make_node
    half = helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["n", 4])
    full = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float16) / 3, "w")
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Cast", ["a"], ["y"], to=TensorProto.FLOAT)]
    graph = helper.make_graph(nodes, "g", [half], [full], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    wide = read_model(saved(model, tmp_path)).proto
    assert [n.op_type for n in wide.graph.node] == ["Cast", "MatMul", "Identity"]
    x = np.full((1, 4), 1, np.float16)
    (found,) = ReferenceEvaluator(wide).run(None, {"x": x})
    np.testing.assert_array_equal(found, np.full((1, 4), np.float16(1 / 3), np.float32))


def test_a_subgraph_reads_the_widened_tensors(tmp_path: Path) -> None:
    wide = read_model(saved(retyped(conditional(), TensorProto.FLOAT16), tmp_path)).proto
    onnx.checker.check_model(wide, full_check=True)
    rows = rounded(np.random.default_rng(0).normal(0, 1, (3, 8)), Precision.FP16.spec.format)
    for flag in (np.asarray(True), np.asarray(False)):
        made = run(wide, in0=rows.astype(np.float16), flag=flag)
        for found, wanted in zip(made, run(conditional(), in0=rows, flag=flag), strict=True):
            np.testing.assert_allclose(found.astype(np.float32), wanted, 5e-3, 5e-3)


def test_a_model_with_some_layers_of_16_bits_stays_as_it_is(tmp_path: Path) -> None:
    model = transformer(mask=False)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float16), "few"))
    read = read_model(saved(model, tmp_path))
    assert read.exported is Precision.FP32
    assert read.notes == ()
    assert read.proto == model


def test_a_malformed_weight_is_one_sentence() -> None:
    model = retyped(transformer(mask=False), TensorProto.FLOAT16)
    largest = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    largest.raw_data = largest.raw_data[:-2]
    with pytest.raises(ModelError, match=f"the weight '{largest.name}' is malformed"):
        widened(model, "")
