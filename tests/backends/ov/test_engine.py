"""Engines of the OpenVINO that is installed, beside ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.backends.openvino.artifact import EngineArtifact
from precsearch.backends.openvino.reader import OnnxOutline, read_onnx
from precsearch.core.backend import BackendOptions, Session
from precsearch.core.errors import BuildError, RunError
from precsearch.core.precision import Precision
from precsearch.measurement.profiling import achieved_precisions, owner
from tests.backends.ov.small_engines import (
    by_ort,
    cnn,
    encoder,
    engine,
    lowered,
    made,
    relative,
    samples,
)
from tests.graph.small_layers import GraphBuilder

FP32, INT8 = Precision.FP32, Precision.INT8


@pytest.mark.parametrize("make", [cnn, encoder])
@pytest.mark.parametrize("fixed", [False, True])
def test_fp32_outputs_equal_those_of_onnx_runtime_at_any_shape(make: object, fixed: bool) -> None:
    model = make()  # type: ignore[operator]
    feed = samples(model)
    shapes = ({name: value.shape for name, value in feed.items()},) if fixed else ()
    backend = made(BackendOptions(threads=1, shapes=shapes))
    session = backend.open(backend.build(model.SerializeToString()))
    found, wanted = session.run(feed), by_ort(model.SerializeToString(), feed)
    assert list(found) == list(wanted)
    assert all(relative(found[k], wanted[k]) < 1e-5 for k in wanted)
    other = samples(model, batch=3, length=5)
    if fixed:
        with pytest.raises(RunError):
            session.run(other)
        return
    again = next(iter(session.run(other).values()))
    expected = next(iter(by_ort(model.SerializeToString(), other).values()))
    assert relative(again, expected) < 1e-5


def test_external_weights_are_found_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save_model(cnn(), path, save_as_external_data=True, location="m.weights", size_threshold=0)
    backend = made(BackendOptions(threads=1, model_folder=str(tmp_path)))
    before = Path.cwd()
    feed = samples(cnn())
    found = backend.open(backend.build(path.read_bytes())).run(feed)
    wanted = by_ort(cnn().SerializeToString(), feed)
    assert all(relative(found[k], wanted[k]) < 1e-5 for k in wanted)
    assert Path.cwd() == before
    with pytest.raises(BuildError, match="external"):
        made().build(path.read_bytes())


@pytest.mark.parametrize("precision", [FP32, Precision.BF16, INT8])
def test_a_model_of_several_operator_sets_is_read_in_every_precision(precision: Precision) -> None:
    model = cnn()
    for domain in ("ai.onnx.ml", "com.example.unused"):
        model.opset_import.add(domain=domain, version=2)
    backend, feed = made(), samples(model)
    if precision not in backend.precisions:
        pytest.skip(f"this device has no {precision.value}")
    artifact, low = engine(model, backend, precision)
    assert len(onnx.ModelProto.FromString(low.model).opset_import) == 3
    found, wanted = backend.open(artifact).run(feed), by_ort(model.SerializeToString(), feed)
    assert all(relative(a, b) < 0.2 for a, b in zip(found.values(), wanted.values(), strict=True))


@pytest.mark.parametrize("make", [cnn, encoder])
def test_int8_runs_in_int8_and_what_was_left_in_fp32_does_not(make: object) -> None:
    model = make()  # type: ignore[operator]
    backend = made()
    artifact, low = engine(model, backend, INT8)
    kernels = backend.open(artifact, profiled=True).profile(samples(model), 2)
    ran = achieved_precisions(kernels, low.asked, low.owners, None)
    computing = {k.op_type for k in kernels if k.precision is INT8}
    assert {"Convolution", "FullyConnected"} & computing
    assert INT8 in ran.values()
    plain, low = engine(model, backend, FP32)
    kernels = backend.open(plain, profiled=True).profile(samples(model), 2)
    assert {k.precision for k in kernels} <= {FP32, None}


def test_every_computing_node_belongs_to_a_kernel_and_the_times_are_of_this_engine() -> None:
    model, backend = encoder(), made()
    artifact, low = engine(model, backend, FP32)
    kernels = backend.open(artifact, profiled=True).profile(samples(model, batch=64), 3)
    told = {node: k for k in kernels for node in k.nodes if k.precision is not None}
    computing = {n.name for n in onnx.ModelProto.FromString(low.model).graph.node}
    norm = {k for k in kernels if k.op_type == "MVN"}
    assert len(norm) == 1, "OpenVINO computes the LayerNorm in one kernel"
    assert len(next(iter(norm)).nodes) > 5, "and all of its nodes are known to be in it"
    assert len(computing & told.keys()) >= 0.8 * len(computing)
    assert 0 < sum(k.seconds for k in kernels) < 1.0
    assert all(owner(node, low.owners) for node in told)


def _asked_and_ran(model: onnx.ModelProto) -> tuple[set[str], set[Precision]]:
    """Kinds of kernels of an INT8 engine, and what its groups ran in."""
    feed = samples(model)
    shapes = ({name: value.shape for name, value in feed.items()},)
    backend = made(BackendOptions(threads=1, shapes=shapes))
    artifact, low = engine(model, backend, INT8)
    kernels = backend.open(artifact, profiled=True).profile(feed, 1)
    ran = achieved_precisions(kernels, low.asked, low.owners, None)
    return {k.op_type for k in kernels}, set(ran.values())


def test_groups_that_were_asked_for_int8_and_ran_in_fp32_are_reported() -> None:
    b = GraphBuilder()
    x = b.op("Relu", b.input(["n", 8, 8, 8]))
    b.output(b.op("ConvTranspose", x, b.weight(8, 16, 3, 3), strides=[2, 2]))
    kinds, ran = _asked_and_ran(b.model())
    assert "Deconvolution" in kinds
    assert ran == {FP32}, "OpenVINO dequantizes first; this test notices when it no longer does"


def test_a_batched_int8_product_is_told_from_the_dequantization_of_its_result() -> None:
    b = GraphBuilder()
    b.output(b.op("MatMul", b.op("Relu", b.input(["n", 4, 6, 16])), b.weight(4, 16, 8)))
    kinds, ran = _asked_and_ran(b.model())
    assert "MatMul" in kinds
    assert ran == {INT8}


def test_a_pool_between_int8_convolutions_runs_in_int8() -> None:
    b = GraphBuilder()
    x = b.op("Relu", b.op("Conv", b.input(["n", 8, 16, 16]), b.weight(16, 8, 3, 3)))
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    b.output(b.op("Conv", x, b.weight(16, 16, 3, 3)))
    backend, model = made(), b.model()
    artifact, _ = engine(model, backend, INT8)
    kernels = backend.open(artifact, profiled=True).profile(samples(model), 1)
    assert [k.precision for k in kernels if k.op_type == "Pooling"] == [INT8]


def test_an_engine_is_loaded_from_its_bytes_and_other_bytes_are_refused() -> None:
    backend, feed = made(), samples(cnn())
    artifact, _ = engine(cnn(), backend, INT8)
    again = EngineArtifact.of(artifact)
    assert again.to_bytes() == artifact
    first, second = (made().open(artifact).run(feed) for _ in range(2))
    assert all((first[k] == second[k]).all() for k in first)
    for wrong in (b"", b"no engine", artifact[:40], artifact[:-100]):
        with pytest.raises(BuildError):
            backend.open(wrong)


def test_a_profile_needs_a_session_opened_for_it_and_a_closed_one_does_not_run() -> None:
    backend, feed = made(), samples(cnn())
    session = backend.open(backend.build(cnn().SerializeToString()))
    assert session.profile(feed, 2) == ()
    assert len(session.time(feed, 3)) == 3
    assert isinstance(session, Session)
    session.close()
    with pytest.raises(RunError, match="closed"):
        session.run(feed)


def test_an_error_is_one_line_without_source_locations() -> None:
    b = GraphBuilder()
    b.output(b.op("Frobnicate", b.input([1, 4]), domain="nobody"))
    model = b.model().SerializeToString()
    with pytest.raises(BuildError) as error:
        made().build(model)
    assert "Frobnicate" in str(error.value)
    assert ".cpp" not in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(BuildError, match="not the bytes"):
        made().build(b"\xff\xff\xff")
    session = made().open(made().build(cnn().SerializeToString()))
    with pytest.raises(RunError, match="in0"):
        session.run({})
    with pytest.raises(RunError):
        session.run({"in0": np.zeros((1, 3, 3), np.float32)})


def test_two_readings_of_a_model_give_operations_the_same_names() -> None:
    model = lowered(encoder(), made(), INT8).model
    outline = OnnxOutline(model)
    first, second = (read_onnx(model, outline, "", ()) for _ in range(2))
    named = [[n.get_friendly_name() for n in m.get_ordered_ops()] for m in (first, second)]
    assert named[0] == named[1]


def test_engines_of_equal_kernels_have_equal_layer_summaries() -> None:
    backend = made()
    first, second = (engine(cnn(), backend, INT8)[0] for _ in range(2))
    assert backend.layer_summary(first) == backend.layer_summary(second)
    assert backend.layer_summary(first) != backend.layer_summary(engine(cnn(), backend, FP32)[0])


def test_conversions_are_the_layers_that_compute_nothing() -> None:
    model, backend = cnn(), made()
    artifact, _ = engine(model, backend, INT8)
    kernels = backend.open(artifact, profiled=True).profile(samples(model), 2)
    assert any(k.converts for k in kernels)
    assert {k.op_type for k in kernels if k.converts} <= {"Reorder", "Convert", "FakeQuantize"}
    assert all(not k.converts for k in kernels if k.op_type in ("Convolution", "FullyConnected"))
