"""Corrected models have pinned bytes, whatever versions of Python and NumPy make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from precsearch.backends.onnxruntime.backend import scheme
from precsearch.codec.vectors import encode_vector
from precsearch.core.precision import Precision
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.rewrites import with_rewrites
from precsearch.rewrites.fold_bias import FOLD_BIAS
from precsearch.rewrites.scaling.equalize import EQUALIZE
from precsearch.rewrites.scaling.smooth import SMOOTH
from tests.rewrites.scalable_models import CHANNELS, Chain

DIGEST = "70b2b52780bfd1babd1f83d76c422b98a25b1394d1ff3ebc37f321755f881012"
"""Found with Python 3.11, and the same with 3.10 and 3.13."""

SMOOTHED = "88121e6e7df64de9c167e2f05e0bfbe7e2311808f82527baaa7d1189009c56f4"
"""The same."""

COLUMNS = 64
"""Of products, so many that a factor in front of them costs little."""


class Counted(Chain):
    """Weights that need no generator of random numbers."""

    def weight(self, *shape: int, low: float = -0.6, high: float = 0.6) -> str:
        count = int(np.prod(shape))
        values = np.arange(count, dtype=np.int64) * 7919 % 1009
        return self.constant((values.astype(np.float32) / np.float32(841) - 0.6).reshape(shape))


def corrected() -> str:
    """SHA-256 of a model that was folded and equalized, shifted and rounded by inference."""
    chain = Counted(0)
    for _ in range(2):
        chain.node("Conv", [chain.tensor, chain.weight(CHANNELS, CHANNELS, 3, 3)], pads=[1] * 4)
        chain.node("Identity", [chain.tensor])
        chain.node("Mul", [chain.tensor, chain.weight(1, CHANNELS, 1, 1)])
        chain.node("Add", [chain.tensor, chain.weight(1, CHANNELS, 1, 1)])
        chain.node("Relu", [chain.tensor])
    chain.node("Reshape", [chain.tensor, chain.constant(np.array([2, -1, CHANNELS]))])
    chain.node("MatMul", [chain.tensor, chain.weight(CHANNELS, CHANNELS)])
    product = chain.tensor
    source = SourceModel(Path("model.onnx"), chain.model([2, CHANNELS, 4, 4]), "", ())
    steps = encode_vector(np.array([0, 1, -2, 3, 0, 5]))
    rewrites = [(FOLD_BIAS, {}), (EQUALIZE, {"1:t3": steps})]
    graph = prepare(with_rewrites(source, rewrites))
    kinds = frozenset({Precision.FP32, Precision.INT8})
    space = group(graph, scheme(), kinds, "group")
    ranges = dict.fromkeys(graph.float_tensors(), TensorRange(-1.5, 3.25))
    shift = np.arange(CHANNELS, dtype=np.float32) / np.float32(64)
    scales = RangeScales(ranges, scheme(), {"t3": shift}, frozenset({product}))
    lowered = Lowering(graph, space, scheme(), scales).lower(space.uniform(Precision.INT8))
    assert (lowered.dynamic, set(lowered.shifts)) == ((product,), {"t3"})
    return lowered.sha256


def test_every_byte_of_a_corrected_model_is_as_it_was() -> None:
    assert corrected() == DIGEST


def smoothed() -> str:
    """SHA-256 of products with factors in front of them, whose biases are shifted."""
    chain = Counted(0)
    chain.node("Transpose", [chain.tensor], perm=[0, 2, 3, 1])
    read = chain.tensor
    chain.node("MatMul", [read, chain.weight(CHANNELS, COLUMNS)])
    chain.node("Add", [chain.tensor, chain.weight(COLUMNS)])
    first = chain.tensor
    chain.node("Reshape", [chain.tensor, chain.constant(np.array([-1, COLUMNS]))])
    flat = chain.tensor
    chain.node("Gemm", [flat, chain.weight(COLUMNS, COLUMNS), chain.weight(COLUMNS)], transB=1)
    source = SourceModel(Path("model.onnx"), chain.model([2, CHANNELS, 4, 4]), "", ())
    steps = np.arange(COLUMNS) % 5 - 2
    factors = {read: encode_vector(steps[:CHANNELS]), flat: encode_vector(steps)}
    graph = prepare(with_rewrites(source, [(SMOOTH, factors)]))
    kinds = frozenset({Precision.FP32, Precision.INT8})
    space = group(graph, scheme(), kinds, "group")
    ranges = dict.fromkeys(graph.float_tensors(), TensorRange(-1.5, 3.25))
    shift = np.arange(COLUMNS, dtype=np.float32) / np.float32(64)
    scales = RangeScales(ranges, scheme(), {first: shift, chain.tensor: shift})
    lowered = Lowering(graph, space, scheme(), scales).lower(space.uniform(Precision.INT8))
    assert set(lowered.shifts) == {first, chain.tensor}
    assert sum(node.is_op("Mul") for node in graph.nodes) == len(factors)
    return lowered.sha256


def test_every_byte_of_a_smoothed_model_is_as_it_was() -> None:
    assert smoothed() == SMOOTHED
