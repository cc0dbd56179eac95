"""Write ``overflow.onnx`` and ``samples.npz``: a transformer whose LayerNorms overflow in FP16.

Six blocks with decomposed LayerNorm and GELU, random weights. From the fourth on, two channels of
the residual stream carry 2,000 and -1,600, as outlier channels of trained transformers do: their
squares are beyond FP16's 65504.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, TOKENS, HEADS, BLOCKS, FIRST_SICK = 64, 16, 4, 6, 3
OUTLIERS = {7: 2000.0, 40: -1600.0}


class Maker:
    """Collects nodes and weights; every method returns the name of what it computes."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: object, kind: type = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, op_type: str, name: str, *inputs: str, **attributes: object) -> str:
        made = helper.make_node(op_type, inputs, [name], name=name)
        made.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(made)
        return name

    def linear(self, name: str, x: str, rows: int, columns: int) -> str:
        matrix = self.rng.normal(0, rows**-0.5, (rows, columns))
        product = self.node("MatMul", f"{name}/MatMul", x, self.weight(f"{name}.weight", matrix))
        bias = self.weight(f"{name}.bias", self.rng.normal(0, 0.02, columns))
        return self.node("Add", name, product, bias)

    def norm(self, name: str, x: str) -> str:
        mean = self.node("ReduceMean", f"{name}/ReduceMean", x, axes=[-1], keepdims=1)
        centred = self.node("Sub", f"{name}/Sub", x, mean)
        square = self.node("Pow", f"{name}/Pow", centred, self.weight(f"{name}.two", 2.0))
        variance = self.node("ReduceMean", f"{name}/Variance", square, axes=[-1], keepdims=1)
        shifted = self.node("Add", f"{name}/Add", variance, self.weight(f"{name}.eps", 1e-6))
        root = self.node("Sqrt", f"{name}/Sqrt", shifted)
        unit = self.node("Div", f"{name}/Div", centred, root)
        gain = self.weight(f"{name}.gain", np.ones(WIDTH))
        return self.node("Mul", name, unit, gain)

    def attention(self, name: str, x: str) -> str:
        parts = []
        for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            made = self.linear(f"{name}/{part}", x, WIDTH, WIDTH)
            shape = self.weight(
                f"{name}/{part}.shape", [0, TOKENS, HEADS, WIDTH // HEADS], np.int64
            )
            split = self.node("Reshape", f"{name}/{part}/Reshape", made, shape)
            parts.append(self.node("Transpose", f"{name}/{part}/Transpose", split, perm=order))
        scores = self.node("MatMul", f"{name}/scores", parts[0], parts[1])
        scale = self.weight(f"{name}.scale", (WIDTH // HEADS) ** -0.5)
        scaled = self.node("Mul", f"{name}/scaled", scores, scale)
        weights = self.node("Softmax", f"{name}/Softmax", scaled, axis=-1)
        mixed = self.node("MatMul", f"{name}/mixed", weights, parts[2])
        turned = self.node("Transpose", f"{name}/turned", mixed, perm=[0, 2, 1, 3])
        whole = self.weight(f"{name}.whole", [0, TOKENS, WIDTH], np.int64)
        return self.linear(
            f"{name}/out", self.node("Reshape", f"{name}/joined", turned, whole), WIDTH, WIDTH
        )

    def feed_forward(self, name: str, x: str) -> str:
        wide = self.linear(f"{name}/fc1", x, WIDTH, 4 * WIDTH)
        erf = self.node(
            "Erf",
            f"{name}/Erf",
            self.node("Div", f"{name}/Div", wide, self.weight(f"{name}.root", 2**0.5)),
        )
        plus = self.node("Add", f"{name}/Plus", erf, self.weight(f"{name}.one", 1.0))
        product = self.node("Mul", f"{name}/Product", wide, plus)
        half = self.node("Mul", f"{name}/Gelu", product, self.weight(f"{name}.half", 0.5))
        return self.linear(f"{name}/fc2", half, 4 * WIDTH, WIDTH)


def model() -> onnx.ModelProto:
    m = Maker()
    x = "x"
    for block in range(BLOCKS):
        name = f"blocks.{block}"
        x = m.node("Add", f"{name}/res1", x, m.attention(f"{name}/attn", m.norm(f"{name}/n1", x)))
        out = m.feed_forward(f"{name}/mlp", m.norm(f"{name}/n2", x))
        if block == FIRST_SICK - 1:
            shift = np.zeros(WIDTH)
            shift[list(OUTLIERS)] = list(OUTLIERS.values())
            out = m.node("Add", f"{name}/outliers", out, m.weight(f"{name}.outliers", shift))
        x = m.node("Add", f"{name}/res2", x, out)
    m.node("Identity", "y", m.norm("norm", x))
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", TOKENS, WIDTH]) for n in "xy"
    ]
    graph = helper.make_graph(m.nodes, "overflow", ends[:1], ends[1:], m.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    onnx.save(model(), folder / "overflow.onnx")
    samples = np.random.default_rng(1).standard_normal((64, TOKENS, WIDTH)).astype(np.float32)
    np.savez(folder / "samples.npz", x=samples)
