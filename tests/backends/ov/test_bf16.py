"""BF16 on OpenVINO: what is asked for by types runs, and the proxy rounds as the engine does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from precsearch.core.backend import BackendOptions
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.measurement.profiling import achieved_precisions
from tests.backends.ov.small_engines import cnn, encoder, engine, made, relative, samples
from tests.graph.small_layers import GELU_FORMS, GraphBuilder, layer_norm, linear

BF16, FP32, INT8 = Precision.BF16, Precision.FP32, Precision.INT8


@pytest.fixture(autouse=True)
def _has_bf16() -> None:
    if BF16 not in made().precisions:
        pytest.skip("the CPU has no BF16 instructions, and the backend does not offer BF16")


def rounded(values: np.ndarray) -> np.ndarray:
    """To BF16 and back: the upper half, to nearest, ties to even. Infinities and NaN stay."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16
    made = upper.astype(np.uint32).view(np.float32)
    return np.where(np.isfinite(values), made, values)


def test_values_are_rounded_to_the_bit_as_the_proxy_rounds_them() -> None:
    b = GraphBuilder(opset=22)
    x = b.op("Cast", b.input(["n"]), to=TensorProto.BFLOAT16)
    b.output(b.op("Cast", b.op("Abs", x), to=TensorProto.FLOAT))
    model = b.model().SerializeToString()
    rng = np.random.default_rng(5)
    ties = (np.arange(256, dtype=np.uint32) << 15 | 0x3F800000).view(np.float32)
    largest = np.array([3.3895e38, 3.4e38, np.inf, 1.2e-38, 0.0], np.float32)
    values = np.concatenate([rng.standard_normal(4096).astype(np.float32) ** 9, ties, largest])
    backend = made(BackendOptions(threads=1, shapes=({"in0": values.shape},)))
    (found,) = backend.open(backend.build(model)).run({"in0": values}).values()
    assert (found == np.abs(rounded(values))).all()
    small = np.full(values.shape, 1e-39, np.float32)  # a subnormal number, which the CPU flushes
    (found,) = backend.open(backend.build(model)).run({"in0": small}).values()
    assert (found == 0).all()


@pytest.mark.parametrize("make", [cnn, encoder])
def test_every_group_that_was_asked_for_bf16_runs_in_it(make: object) -> None:
    model, backend = make(), made()  # type: ignore[operator]
    artifact, low = engine(model, backend, BF16)
    kernels = backend.open(artifact, profiled=True).profile(samples(model), 2)
    ran = achieved_precisions(kernels, low.asked, low.owners, None)
    assert set(ran.values()) == {BF16}
    assert BF16 in {k.precision for k in kernels if k.op_type in ("Convolution", "FullyConnected")}


def test_three_precisions_run_in_one_engine() -> None:
    backend, model = made(), cnn()
    graph = prepare(SourceModel(Path("m.onnx"), model, "0" * 64, ()), backend.form.min_opset)
    space = group(graph, backend.scheme, backend.precisions, "group", backend.form)
    convs = [g.key for g in space.free if g.kind == "conv"]
    dense = next(g.key for g in space.free if g.kind in ("gemm", "linear", "matmul"))
    ranges = RangeScales({t: TensorRange(-4.0, 4.0) for t in graph.float_tensors()}, backend.scheme)
    lowering = Lowering(graph, space, backend.scheme, ranges, backend.form)
    low = lowering.lower(Assignment.of({convs[0]: INT8, convs[1]: BF16}))
    kernels = backend.open(backend.build(low.model), profiled=True).profile(samples(model), 2)
    ran = achieved_precisions(kernels, low.asked, low.owners, None)
    assert ran == {convs[0]: INT8, convs[1]: BF16}
    (last,) = (k for k in kernels if k.op_type == "FullyConnected")
    assert last.precision is FP32
    assert dense not in ran


def both_errors(model: onnx.ModelProto) -> Iterator[tuple[str, float, float]]:
    """Everything in BF16, then each group alone: its name, the engine's error and the proxy's."""
    feed = samples(model, batch=8)
    shapes = {name: value.shape for name, value in feed.items()}
    backend = made(BackendOptions(threads=1, shapes=(shapes,)))
    graph = prepare(SourceModel(Path("m.onnx"), model, "0" * 64, ()), backend.form.min_opset)
    space = group(graph, backend.scheme, frozenset({FP32, BF16}), "group", backend.form)
    scales = RangeScales({}, backend.scheme)
    lowering = Lowering(graph, space, backend.scheme, scales, backend.form)
    written = ProxyGraph(LoweringContext(graph, space, backend.scheme, scales, backend.form))
    proxy = Proxy(written.proxy, 1, 1, "")
    (plain,) = proxy.run(written.request(Assignment()), [feed])
    assignments = {"all": space.uniform(BF16)}
    assignments |= {g.kind + g.key: Assignment.of({g.key: BF16}) for g in space.free}
    for label, assignment in assignments.items():
        session = backend.open(backend.build(lowering.lower(assignment).model))
        (guess,) = proxy.run(written.request(assignment), [feed])
        found = session.run(feed)
        for name in plain:
            error, guessed = (relative(x[name], plain[name]) for x in (found, guess))
            yield label, error, guessed


@pytest.mark.parametrize("make", [cnn, encoder])
def test_the_error_of_the_proxy_is_within_half_of_the_error_of_the_engine(make: object) -> None:
    for name, error, guessed in both_errors(make()):  # type: ignore[operator]
        assert guessed < 1e-6 + 1.5 * error, name
        assert error < 1e-6 + 1.5 * guessed, name


def test_the_proxy_rounds_fused_nodes_once_as_openvino_does_and_is_within_a_tenth() -> None:
    b = GraphBuilder()
    x = layer_norm(b, b.input(["n", 48, 128]), 128)
    x = GELU_FORMS["erf, half last"](b, linear(b, x, 128, 256))
    b.output(linear(b, x, 256, 64))
    for name, engine_error, proxy_error in both_errors(b.model()):
        assert proxy_error == pytest.approx(engine_error, rel=0.1), name


def test_a_model_is_raised_to_the_operator_set_that_has_conv_in_bf16() -> None:
    _, low = engine(cnn(), made(), BF16)
    model = onnx.ModelProto.FromString(low.model)
    assert model.opset_import[0].version == 22
    onnx.checker.check_model(model, full_check=True)
