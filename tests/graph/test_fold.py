"""Constant factors of a Gemm end up in its weights, and then it has an INT8 form."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.graph.small_graphs import GraphBuilder, view

SCHEME = scheme()


def run(model: bytes, feed: dict[str, Any]) -> np.ndarray:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (y,) = map(np.asarray, session.run(None, feed))
    return y


def net(bias: str, **factors: Any) -> onnx.ModelProto:
    b = GraphBuilder()
    x = b.input(["n", 8])
    weight = b.weight(6, 8)
    given = {"constant": b.weight(6), "none": ""}.get(bias) if bias != "live" else ""
    if bias == "live":
        given = b.op("ReduceMean", b.op("MatMul", x, b.weight(8, 6)), axes=[0], keepdims=0)
    both = [t for t in (x, weight, given) if t]
    left = b.op("Gemm", *both, transB=1, **factors)
    right = b.op("Gemm", *both, transB=1)  # the same weights, unscaled
    b.output(b.op("Add", left, right))
    return b.model()


@pytest.mark.parametrize("bias", ["constant", "none", "live"])
@pytest.mark.parametrize("factors", [{"alpha": 0.3}, {"beta": -1.7}, {"alpha": 2.0, "beta": 0.0}])
def test_a_gemm_with_factors_computes_the_same(bias: str, factors: dict[str, float]) -> None:
    model = net(bias, **factors)
    graph = view(model)
    space = group(graph, SCHEME, frozenset(Precision))
    feed = {"in0": np.random.default_rng(0).normal(0, 1, (4, 8)).astype(np.float32)}
    lowered = Lowering(graph, space, SCHEME, RangeScales({}, SCHEME)).lower(Assignment()).model
    np.testing.assert_allclose(
        run(lowered, feed), run(model.SerializeToString(), feed), rtol=1e-5, atol=1e-5
    )
    gemms = [n for n in graph.nodes if n.is_op("Gemm")]
    kept = {"beta"} & factors.keys() if bias == "live" else set()
    assert {a.name for a in gemms[0].proto.attribute} - {"transB"} == kept
    assert (Precision.INT8 in space.by_key[gemms[0].key].choices) == (bias != "live")
