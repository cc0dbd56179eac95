"""Write ``attention.onnx``: projections and an attention whose scale is split in two."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, TOKENS = 32, 8


def model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def weight(name: str, values: object) -> str:
        weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def node(op_type: str, name: str, *inputs: str) -> onnx.NodeProto:
        nodes.append(helper.make_node(op_type, inputs, [name], name=name))
        return nodes[-1]

    def linear(name: str, x: str) -> str:
        matrix = weight(f"{name}.weight", rng.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)))
        node("MatMul", f"{name}.matmul", x, matrix)
        node("Add", name, f"{name}.matmul", weight(f"{name}.bias", rng.normal(0, 0.1, WIDTH)))
        return name

    root = weight("root", WIDTH**-0.25)
    hidden = node("Tanh", "hidden", linear("embed", "x")).output[0]
    node("Mul", "q.scaled", linear("q", hidden), root)
    node("Transpose", "k.turned", linear("k", hidden)).attribute.append(
        helper.make_attribute("perm", [0, 2, 1])
    )
    node("Mul", "k.scaled", "k.turned", root)
    node("MatMul", "scores", "q.scaled", "k.scaled")
    node("Softmax", "weights", "scores")
    node("MatMul", "mixed", "weights", linear("v", hidden))
    node("Add", "residual", "mixed", hidden)
    linear("y", "residual")
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", TOKENS, WIDTH]) for n in "xy"
    ]
    graph = helper.make_graph(nodes, "attention", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


if __name__ == "__main__":
    onnx.save(model(), Path(sys.argv[1] if len(sys.argv) > 1 else "attention.onnx"))
