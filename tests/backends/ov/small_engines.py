"""Small models, and engines of them in a given assignment."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from precsearch.backends.openvino import OpenVinoBackend
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.small_layers import GraphBuilder, layer_norm, linear

__all__ = ["by_ort", "cnn", "encoder", "engine", "lowered", "made", "relative", "samples"]


def cnn() -> onnx.ModelProto:
    """Two Convs with a residual Add, a pool and a Gemm; the batch is open."""
    b = GraphBuilder()
    x = b.op("Relu", b.op("Conv", b.input(["n", 8, 16, 16]), b.weight(16, 8, 3, 3), pads=[1] * 4))
    y = b.op("Conv", x, b.weight(16, 16, 3, 3), pads=[1] * 4)
    x = b.op("Relu", b.op("Add", x, y))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.output(b.op("Gemm", x, b.weight(16, 10), b.const(np.zeros(10))))
    return b.model()


def encoder() -> onnx.ModelProto:
    """Token numbers and a mask in, two outputs: a LayerNorm between two linear layers."""
    b = GraphBuilder()
    ids = b.input(["n", "length"], onnx.TensorProto.INT64, "ids")
    mask = b.input(["n", "length", 1], name="mask")
    x = b.op("Mul", b.op("Gather", b.weight(50, 64), ids), mask)
    x = layer_norm(b, linear(b, x, 64, 64), 64)
    b.output(x)
    b.output(linear(b, x, 64, 8))
    return b.model()


def made(options: BackendOptions | None = None) -> OpenVinoBackend:
    return OpenVinoBackend(options or BackendOptions(threads=1))


def samples(model: onnx.ModelProto, batch: int = 2, length: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    feed: dict[str, np.ndarray] = {}
    for row in model.graph.input:
        sizes = [d.dim_value or {"length": length}.get(d.dim_param, batch) for d in _dims(row)]
        whole = row.type.tensor_type.elem_type == onnx.TensorProto.INT64
        values = rng.integers(0, 50, sizes) if whole else rng.standard_normal(sizes)
        feed[row.name] = values.astype(np.int64 if whole else np.float32)
    return feed


def _dims(row: onnx.ValueInfoProto) -> Iterable[onnx.TensorShapeProto.Dimension]:
    return list(row.type.tensor_type.shape.dim)


def by_ort(model: bytes, feed: Feed) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    wanted = [o.name for o in session.get_outputs()]
    return dict(zip(wanted, session.run(wanted, dict(feed)), strict=True))


def relative(value: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


def engine(
    model: onnx.ModelProto,
    backend: OpenVinoBackend,
    precision: Precision,
    without: Iterable[str] = (),
) -> tuple[bytes, Lowered]:
    """Everything in one precision but the groups ``without``, built."""
    found = lowered(model, backend, precision, without)
    return backend.build(found.model), found


def lowered(
    model: onnx.ModelProto,
    backend: Any,
    precision: Precision,
    without: Iterable[str] = (),
) -> Lowered:
    graph = prepare(SourceModel(Path("m.onnx"), model, "0" * 64, ()), backend.form.min_opset)
    space = group(
        graph, backend.scheme, frozenset({Precision.FP32, precision}), "group", backend.form
    )
    tensors = {t for found in quantizable(graph, backend.scheme, space).values() for t in found}
    scales = RangeScales({t: TensorRange(-4.0, 4.0) for t in tensors}, backend.scheme)
    lowering = Lowering(graph, space, backend.scheme, scales, backend.form)
    wanted = space.uniform(precision, without) if space.free else Assignment()
    return lowering.lower(wanted)
