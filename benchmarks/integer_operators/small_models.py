"""Models of a few nodes, and the least time of sessions that take turns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

RUNS = 25
SHAPE = (1, 64, 52, 52)
RNG = np.random.default_rng(0)

Nodes = list[onnx.NodeProto]
Weights = dict[str, np.ndarray]


def quantized(tensor: str, low: float, high: float, weights: Weights) -> tuple[Nodes, str]:
    """Rounds a tensor to uint8; its dequantized values."""
    step = (high - low) / 255
    weights[f"{tensor}_scale"] = np.asarray(step, np.float32)
    weights[f"{tensor}_zero"] = np.asarray(round(-low / step), np.uint8)
    params = [f"{tensor}_scale", f"{tensor}_zero"]
    node = helper.make_node
    return [
        node("QuantizeLinear", [tensor, *params], [f"{tensor}_q"]),
        node("DequantizeLinear", [f"{tensor}_q", *params], [f"{tensor}_dq"]),
    ], f"{tensor}_dq"


def model(
    nodes: Nodes, weights: Weights, inputs: Sequence[tuple[str, int, Any]], output: str, kind: int
) -> bytes:
    """A serialized model of one output."""
    graph = helper.make_graph(
        nodes,
        "operator",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(w, n) for n, w in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


def opened(data: bytes) -> ort.InferenceSession:
    """A session of one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def timed(pairs: Sequence[tuple[ort.InferenceSession, Mapping[str, Any]]]) -> list[float]:
    """Least microseconds of each session, run by turns."""
    least = [float("inf")] * len(pairs)
    for _ in range(RUNS):
        for index, (session, feed) in enumerate(pairs):
            start = time.perf_counter()
            session.run(None, feed)
            least[index] = min(least[index], time.perf_counter() - start)
    return [t * 1e6 for t in least]
