"""Small models with the faults that `diagnose` is for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 16
SHAPE: list[Any] = ["n", 6, WIDTH]


class Maker:
    """Collects nodes whose tensors have the names that it is told."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(seed)

    def weight(self, array: np.ndarray | float) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, op_type: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [name], name, **attributes))
        return name

    def linear(self, name: str, x: str, scale: float = 0.25) -> str:
        matrix = self.rng.normal(0, scale, (WIDTH, WIDTH))
        product = self.node("MatMul", f"{name}/matmul", x, self.weight(matrix))
        return self.node("Add", name, product, self.weight(self.rng.normal(0, 0.1, WIDTH)))

    def norm(self, name: str, x: str) -> str:
        """A decomposed LayerNorm."""
        mean = self.node("ReduceMean", f"{name}/mean", x, axes=[-1], keepdims=1)
        sub = self.node("Sub", f"{name}/sub", x, mean)
        square = self.node("Pow", f"{name}/pow", sub, self.weight(2.0))
        variance = self.node("ReduceMean", f"{name}/variance", square, axes=[-1], keepdims=1)
        shifted = self.node("Add", f"{name}/eps", variance, self.weight(1e-5))
        root = self.node("Sqrt", f"{name}/sqrt", shifted)
        div = self.node("Div", f"{name}/div", sub, root)
        scaled = self.node("Mul", f"{name}/gamma", div, self.weight(np.ones(WIDTH)))
        return self.node("Add", name, scaled, self.weight(np.zeros(WIDTH)))

    def attention(self, name: str, x: str) -> str:
        """One whose scale is split into two Muls."""
        q, k = self.linear(f"{name}/q", x), self.linear(f"{name}/k", x)
        root = WIDTH**-0.25
        left = self.node("Mul", f"{name}/qs", q, self.weight(root))
        turned = self.node("Transpose", f"{name}/kt", k, perm=[0, 2, 1])
        right = self.node("Mul", f"{name}/ks", turned, self.weight(root))
        scores = self.node("MatMul", f"{name}/scores", left, right)
        weights = self.node("Softmax", f"{name}/softmax", scores, axis=-1)
        return self.node("MatMul", name, weights, self.linear(f"{name}/v", x))

    def model(self, output: str, opset: int = 17) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "sick",
            [value("x", TensorProto.FLOAT, SHAPE)],
            [value(output, TensorProto.FLOAT, SHAPE)],
            self.weights,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        proto.ir_version = 8
        onnx.checker.check_model(proto, full_check=True)
        return proto


def overflowing(opset: int = 17) -> onnx.ModelProto:
    """Its second LayerNorm's variance leaves FP16's range."""
    m = Maker()
    first = m.norm("one", m.linear("in", "x"))
    large = m.node("Mul", "large", first, m.weight(900.0))
    return m.model(m.linear("out", m.norm("two", large)), opset)


def masked() -> onnx.ModelProto:
    """An attention mask of -3.4e38 is computed from a constant."""
    m = Maker()
    mask = m.weight(np.where(np.arange(WIDTH) % 3 == 0, np.finfo(np.float32).min, 0))
    weights = m.node("Softmax", "weights", m.node("Add", "masked", "x", mask), axis=-1)
    return m.model(m.linear("out", weights))


def underflowing() -> onnx.ModelProto:
    """Squares of small numbers end in a Log."""
    m = Maker()
    small = m.node("Mul", "small", "x", m.weight(1e-4))
    power = m.node("Mul", "power", small, small)
    shifted = m.node("Add", "shifted", power, m.weight(1e-11))
    return m.model(m.linear("out", m.node("Log", "log", shifted)))


def split_scales() -> onnx.ModelProto:
    """A transformer of which `tests.diagnosis.wrong_backend` miscompiles one attention."""
    m = Maker()
    x = m.linear("b", m.node("Tanh", "t", m.linear("a", "x")))
    x = m.node("Add", "residual", m.attention("attention", x), x)
    return m.model(m.linear("d", m.node("Tanh", "u", m.linear("c", m.norm("n", x)))))
