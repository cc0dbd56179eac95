"""Writing small ONNX models by hand, and the layers that exporters decompose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from precsearch.core.backend import QuantScheme
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.graph.view import GraphView

Shape = Sequence[int | str]

SCHEME = QuantScheme.int8(
    name="u8s8",
    activation="uint8",
    weight_bits=8,
    active=frozenset({"Conv", "MatMul", "Gemm"}),
    passive=frozenset(
        {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid"}
    ),
    carried=frozenset(
        {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice"}
    ),
    outputs_of=frozenset({"Conv"}),
)
"""What ONNX Runtime wants on x86, in short."""


def view(model: onnx.ModelProto) -> GraphView:
    """The prepared graph of a model that lies in no file."""
    return prepare(SourceModel(Path("small.onnx"), model, "0" * 64, ()))


class GraphBuilder:
    """Writes a model node by node; tensors get names that say nothing (``t0``, ``t1`` …)."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.domains: list[str] = []
        self.count = 0

    def name(self) -> str:
        self.count += 1
        return f"t{self.count - 1}"

    def input(self, shape: Shape, elem_type: int = TensorProto.FLOAT, name: str = "") -> str:
        name = name or f"in{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, elem_type, shape))
        return name

    def output(self, tensor: str, elem_type: int = TensorProto.FLOAT) -> str:
        self.outputs.append(helper.make_tensor_value_info(tensor, elem_type, None))
        return tensor

    def const(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def weight(self, *shape: int) -> str:
        """Random FP32 values that keep activations near 1."""
        fan_in = max(int(np.prod(shape[1:] if len(shape) > 2 else shape[:1])), 1)
        return self.const(self.rng.standard_normal(shape) / np.sqrt(fan_in))

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def op(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return that."""
        return self.ops(op_type, *inputs, count=1, domain=domain, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: str, count: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with ``count`` outputs."""
        outputs = [self.name() for _ in range(count)]
        self.nodes.append(
            helper.make_node(op_type, list(inputs), outputs, domain=domain, **attributes)
        )
        if domain and domain not in self.domains:
            self.domains.append(domain)
        return outputs

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, "small", self.inputs, self.outputs, initializer=self.constants
        )
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(d, 1) for d in self.domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model)
        for mine, found in zip(graph.output, inferred.graph.output, strict=True):
            mine.CopyFrom(found)
        model.graph.CopyFrom(graph)
        return model


# Layers.


def conv(b: GraphBuilder, x: str, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> str:
    pads = [size // 2] * 4
    weight, bias = b.weight(outputs, inputs, size, size), b.weight(outputs)
    return b.op("Conv", x, weight, bias, pads=pads, strides=[stride] * 2)


def batch_norm(b: GraphBuilder, x: str, channels: int) -> str:
    gamma, beta, mean = (b.weight(channels) for _ in range(3))
    variance = b.const(b.rng.uniform(0.5, 1.5, channels))
    return b.op("BatchNormalization", x, gamma, beta, mean, variance)


def linear(b: GraphBuilder, x: str, inputs: int, outputs: int, bias_first: bool = False) -> str:
    product = b.op("MatMul", x, b.weight(inputs, outputs))
    bias = b.weight(outputs)
    return b.op("Add", *((bias, product) if bias_first else (product, bias)))


def mean(b: GraphBuilder, x: str) -> str:
    """Over the last axis; from operator set 18 on the axes are an input."""
    if b.opset >= 18:
        return b.op("ReduceMean", x, b.ints(-1), keepdims=1)
    return b.op("ReduceMean", x, axes=[-1], keepdims=1)


NORM_FORMS = ("div", "mul-square", "reciprocal", "one-over", "pow-half", "rsqrt", "twin", "folded")


def layer_norm(b: GraphBuilder, x: str, width: int, form: str = "div") -> str:
    """LayerNorm as exporters decompose it, in one of `NORM_FORMS`."""
    average = mean(b, x)
    centred = b.op("Sub", x, average)
    numerator = b.op("Sub", x, average) if form == "twin" else centred
    if form == "mul-square":
        square = b.op("Mul", centred, centred)
    else:
        square = b.op("Pow", centred, b.const(2.0))
    shifted = b.op("Add", mean(b, square), b.const(1e-5))
    gamma, beta = b.const(b.rng.uniform(0.5, 1.5, width)), b.weight(width)
    if form == "rsqrt":
        inverse = b.op("Pow", shifted, b.const(-0.5))
        normal = b.op("Mul", numerator, inverse)
    elif form == "pow-half":
        normal = b.op("Div", numerator, b.op("Pow", shifted, b.const(0.5)))
    elif form == "reciprocal":
        normal = b.op("Mul", b.op("Reciprocal", b.op("Sqrt", shifted)), numerator)
    elif form == "one-over":
        normal = b.op("Mul", numerator, b.op("Div", b.const(1.0), b.op("Sqrt", shifted)))
    elif form == "folded":  # x * m + (beta - mean * m), m = gamma / root
        factor = b.op("Mul", b.op("Reciprocal", b.op("Sqrt", shifted)), gamma)
        offset = b.op("Sub", beta, b.op("Mul", average, factor))
        return b.op("Add", b.op("Mul", x, factor), offset)
    else:
        normal = b.op("Div", numerator, b.op("Sqrt", shifted))
    return b.op("Add", b.op("Mul", normal, gamma), beta)


def rms_norm(b: GraphBuilder, x: str, width: int) -> str:
    shifted = b.op("Add", mean(b, b.op("Pow", x, b.const(2.0))), b.const(1e-5))
    normal = b.op("Mul", x, b.op("Reciprocal", b.op("Sqrt", shifted)))
    return b.op("Mul", b.const(b.rng.uniform(0.5, 1.5, width)), normal)


def _erf(b: GraphBuilder, x: str) -> str:
    return b.op("Add", b.op("Erf", b.op("Div", x, b.const(np.sqrt(2)))), b.const(1.0))


def _tanh(b: GraphBuilder, x: str, power: bool) -> str:
    cube = b.op("Pow", x, b.const(3.0)) if power else b.op("Mul", b.op("Mul", x, x), x)
    inner = b.op("Add", x, b.op("Mul", cube, b.const(0.044715)))
    curve = b.op("Tanh", b.op("Mul", inner, b.const(np.sqrt(2 / np.pi))))
    return b.op("Add", b.const(1.0), curve)


GELU_FORMS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "erf, half last": lambda b, x: b.op("Mul", b.op("Mul", x, _erf(b, x)), b.const(0.5)),
    "erf, divided": lambda b, x: b.op("Div", b.op("Mul", _erf(b, x), x), b.const(2.0)),
    "erf, half first": lambda b, x: b.op("Mul", b.op("Mul", x, b.const(0.5)), _erf(b, x)),
    "erf, half in the middle": lambda b, x: b.op("Mul", x, b.op("Mul", b.const(0.5), _erf(b, x))),
    "tanh, half first": lambda b, x: b.op(
        "Mul", b.op("Mul", b.const(0.5), x), _tanh(b, x, power=True)
    ),
    "tanh, half last": lambda b, x: b.op(
        "Mul", b.op("Mul", _tanh(b, x, power=False), x), b.const(0.5)
    ),
}


def silu(b: GraphBuilder, x: str) -> str:
    return b.op("Mul", x, b.op("Sigmoid", x))


def attention(
    b: GraphBuilder, q: str, k: str, v: str, size: int, scale: str = "after", mask: str = ""
) -> str:
    """The core for Q, K, V of shape (batch, heads, tokens, size).

    Args:
        scale: ``after`` the product, ``before`` it on Q, or ``split`` between Q and K.
        mask: A tensor to add to the scores; ``where:`` before its name picks by a Boolean one.
    """
    keys = b.op("Transpose", k, perm=[0, 1, 3, 2])
    if scale == "before":
        q = b.op("Mul", q, b.const(size**-0.5))
    elif scale == "split":
        q, keys = (b.op("Mul", t, b.const(size**-0.25)) for t in (q, keys))
    scores = b.op("MatMul", q, keys)
    if scale == "after":
        scores = b.op("Div", scores, b.const(size**0.5))
    if mask.startswith("where:"):
        scores = b.op("Where", mask.removeprefix("where:"), scores, b.const(-1e4))
    elif mask:
        scores = b.op("Add", scores, mask)
    return b.op("MatMul", b.op("Softmax", scores, axis=-1), v)


def heads(b: GraphBuilder, x: str, count: int, size: int) -> str:
    split = b.op("Reshape", x, b.ints(0, -1, count, size))
    return b.op("Transpose", split, perm=[0, 2, 1, 3])
