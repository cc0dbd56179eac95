"""What real models have beside plain nodes, and how it comes through a lowering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.small_graphs import (
    SCHEME,
    GraphBuilder,
    conditional,
    custom_op,
    linear,
    shared_weights,
    view,
)
from tests.lowering.golden import old_conv_net

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT
Arrays = dict[str, npt.NDArray[Any]]


def spaced(graph: GraphView, granularity: str = "group") -> tuple[SearchSpace, Lowering]:
    space = group(graph, SCHEME, frozenset(Precision), granularity)
    tensors = frozenset().union(*quantizable(graph, SCHEME, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-4.0, 4.0)), SCHEME)
    return space, Lowering(graph, space, SCHEME, scales)


def parsed(model: bytes) -> onnx.ModelProto:
    proto: onnx.ModelProto = onnx.ModelProto.FromString(model)
    return proto


def in_ort(model: bytes | str, feed: Arrays, folder: str = "") -> list[npt.NDArray[Any]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if folder:
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, folder)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: list[npt.NDArray[Any]] = session.run(None, feed)
    return found


def relative(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def rows(*shape: int) -> npt.NDArray[Any]:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


# Constants.


def test_a_shared_constant_has_one_form_a_type() -> None:
    model = shared_weights()
    graph = view(model)
    space, lowering = spaced(graph)
    first, second = (g.key for g in space.free)
    lowered = lowering.lower(Assignment.of({first: FP16}))
    found = {t.name: numpy_helper.to_array(t) for t in parsed(lowered.model).graph.initializer}
    assert {n: a.dtype for n, a in found.items()} == {
        "w0": np.float32,
        "w1": np.float32,
        "w0//half": np.float16,
        "w1//half": np.float16,
    }
    np.testing.assert_array_equal(found["w0//half"], found["w0"].astype(np.float16))
    np.testing.assert_array_equal(found["w0"], numpy_helper.to_array(model.graph.initializer[0]))
    feed = {"in0": rows(2, 8)}
    (y,) = map(np.asarray, ReferenceEvaluator(parsed(lowered.model)).run(None, feed))
    (wanted,) = in_ort(model.SerializeToString(), feed)
    assert 0 < relative(y, wanted) < 2e-3
    mixed = lowering.lower(Assignment.of({first: FP16, second: INT8}))
    types = {t.name: t.data_type for t in parsed(mixed.model).graph.initializer}
    assert types["w0//half"] == HALF
    assert [n for n, t in types.items() if t == TensorProto.INT8 and n.endswith("i81")]
    onnx.checker.check_model(parsed(mixed.model), full_check=True)


@pytest.mark.parametrize("opset", [9, 11])
def test_an_old_model_is_raised_and_computes_the_same(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    path.write_bytes(old_conv_net(opset).SerializeToString())
    graph = prepare(read_model(path))
    assert graph.opsets[""] == 13
    assert [i.name for i in graph.inputs] == ["x"]
    space, lowering = spaced(graph)
    feed = {"x": rows(2, 3, 8, 8)}
    (wanted,) = in_ort(str(path), feed)
    plain = lowering.lower(Assignment()).model
    assert [i.name for i in parsed(plain).graph.input] == ["x"]
    assert "BatchNormalization" not in {n.op_type for n in parsed(plain).graph.node}
    (y,) = in_ort(plain, feed)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    for precision in (FP16, INT8):
        lowered = lowering.lower(space.uniform(precision)).model
        onnx.checker.check_model(parsed(lowered), full_check=True)
        (y,) = in_ort(lowered, feed)
        assert relative(y, wanted) < 0.2


# Subgraphs and operators that ONNX lacks.


def test_a_subgraph_finds_a_lowered_tensor_in_fp32() -> None:
    model = conditional()
    graph = view(model)
    space, lowering = spaced(graph)
    kept = next(g for g in space.groups if g.choices == (FP32,))
    assert graph.by_key[kept.key].op_type == "If"
    (captured,) = graph.by_key[kept.key].captures
    feed = {"in0": rows(3, 8)}
    for flag in (np.True_, np.False_):
        given = {**feed, "flag": np.asarray(flag)}
        (wanted,) = in_ort(model.SerializeToString(), given)
        for precision in (FP16, INT8):
            lowered = lowering.lower(space.uniform(precision))
            onnx.checker.check_model(parsed(lowered.model), full_check=True)
            (y,) = in_ort(lowered.model, given)
            assert relative(y, wanted) < 0.1
    half = parsed(lowering.lower(space.uniform(FP16)).model)
    writer = next(n for n in half.graph.node if captured in n.output)
    assert (writer.op_type, writer.attribute[0].i) == ("Cast", FLOAT)


def test_a_node_of_a_foreign_domain_reads_and_writes_fp32() -> None:
    graph = view(custom_op())
    space, lowering = spaced(graph)
    key = next(n.key for n in graph.nodes if n.domain)
    assert space.by_key[key].choices == (FP32,)
    lowered = lowering.lower(Assignment.of({g.key: FP16 for g in space.free}))
    proto = parsed(lowered.model)
    node = next(n for n in proto.graph.node if n.domain)
    assert {(o.domain, o.version) for o in proto.opset_import} == {("", 17), ("com.example", 1)}
    assert helper.get_node_attr_value(node, "power") == 3
    writer = next(n for n in proto.graph.node if node.input[0] in n.output)
    assert (writer.op_type, writer.attribute[0].i) == ("Cast", FLOAT)
    assert node.output[0] == key
    assert key not in lowered.asked


# External weights.


@pytest.fixture
def external(tmp_path: Path) -> SourceModel:
    b = GraphBuilder()
    x = linear(b, b.input(["n", 256]), 256, 256)
    b.output(linear(b, b.op("Relu", x), 256, 256))
    path = tmp_path / "model.onnx"
    onnx.save_model(
        b.model(),
        str(path),
        save_as_external_data=True,
        location="model.weights",
        size_threshold=1024,
    )
    return read_model(path)


def test_external_weights_stay_where_they_are(external: SourceModel) -> None:
    graph = prepare(external)
    _, lowering = spaced(graph)
    lowered = lowering.lower(Assignment())
    proto = parsed(lowered.model)
    large = [t for t in proto.graph.initializer if np.prod(t.dims) > 256]
    assert len(large) == 2
    assert all(t.data_location == TensorProto.EXTERNAL and not t.raw_data for t in large)
    places = {e.key: e.value for e in large[0].external_data}
    assert places["location"] == "model.weights"
    assert len(lowered.model) < 4096
    feed = {"in0": rows(2, 256)}
    (y,) = in_ort(lowered.model, feed, str(external.folder))
    (wanted,) = in_ort(str(external.path), feed)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


def test_a_trial_carries_only_the_bytes_that_it_changes(external: SourceModel) -> None:
    graph = prepare(external)
    space, lowering = spaced(graph)
    first, second = (g.key for g in space.free if "matmul" in g.kind or g.kind == "linear")
    one = lowering.lower(Assignment.of({first: INT8}))
    assert 256 * 256 < len(one.model) < 256 * 256 + 16384
    stays = [
        t for t in parsed(one.model).graph.initializer if t.data_location == TensorProto.EXTERNAL
    ]
    assert [int(np.prod(t.dims)) for t in stays if np.prod(t.dims) > 256] == [256 * 256]
    assert len(lowering.lower(Assignment.of({second: FP16})).model) < 2 * 256 * 256 + 16384
    before = sorted(p.name for p in external.folder.iterdir())
    assert before == ["model.onnx", "model.weights"]


def test_changed_external_weights_are_another_model(external: SourceModel) -> None:
    weights = external.folder / "model.weights"
    data = bytearray(weights.read_bytes())
    data[100] ^= 1
    weights.write_bytes(bytes(data))
    assert read_model(external.path).digest != external.digest
