"""Models and assignments whose lowered bytes are pinned; run as a script, it prints the digests.

    python -m tests.lowering.golden > tests/lowering/golden.json

Weights and ranges are made of whole numbers, so that nothing but the lowering can differ between
two installations.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from precsearch.backends.onnxruntime import backend as onnxruntime
from precsearch.backends.tensorrt.scheme import scheme as tensorrt_scheme
from precsearch.core.backend import TYPED, TYPED_HALF, WEAK, GraphForm, QuantScheme
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.lowering.version import lowering_version

EXAMPLE = Path(__file__).parents[2] / "examples/digits/model.onnx"
SCHEME = onnxruntime.scheme(8)
TENSORRT = tensorrt_scheme()
FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8


def tensor(name: str, *shape: int) -> onnx.TensorProto:
    count = int(np.prod(shape))
    values = ((np.arange(count) * 37) % 101 - 50).astype(np.float32) / np.float32(128)
    return numpy_helper.from_array(values.reshape(shape), name)


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def old_conv_net(opset: int) -> onnx.ModelProto:
    """Clip and Squeeze as attributes had it, BatchNormalization to fold, constants as inputs."""
    weights = [
        tensor("w0", 8, 3, 3, 3),
        *(tensor(f"norm{i}", 8) for i in range(3)),
        numpy_helper.from_array(np.arange(1, 9, dtype=np.float32), "variance"),
        tensor("w1", 8, 8, 3, 3),
        tensor("b1", 8),
        tensor("w2", 8, 4),
        tensor("b2", 4),
    ]
    node = helper.make_node
    clip = [node("Clip", ["n"], ["c"], min=0.0, max=6.0)]
    if opset >= 11:
        bounds = [numpy_helper.from_array(np.asarray(v, np.float32), f"bound{v}") for v in (0, 6)]
        weights += bounds
        clip = [node("Clip", ["n", *(t.name for t in bounds)], ["c"])]
    nodes = [
        node("Conv", ["x", "w0"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "norm0", "norm1", "norm2", "variance"], ["n"]),
        *clip,
        node("Conv", ["c", "w1", "b1"], ["d"], pads=[1, 1, 1, 1]),
        node("Add", ["d", "c"], ["s"]),
        node("Relu", ["s"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Squeeze", ["p"], ["f"], axes=[2, 3]),
        node("Gemm", ["f", "w2", "b2"], ["y"]),
    ]
    inputs = [floats("x", "n", 3, 8, 8), *(floats(w.name, *w.dims) for w in weights)]
    graph = helper.make_graph(nodes, "old", inputs, [floats("y", "n", 4)], weights)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=3 if opset < 11 else 6)


def attention_net() -> onnx.ModelProto:
    """A decomposed LayerNorm, one attention head and a residual Add, at operator set 17."""
    weights = [tensor(f"w{i}", 8, 8) for i in range(4)]
    weights += [tensor(f"b{i}", 8) for i in range(4)]
    weights += [
        numpy_helper.from_array(np.asarray(2, np.float32), "two"),
        numpy_helper.from_array(np.asarray(1 / 128, np.float32), "epsilon"),
    ]
    node = helper.make_node
    nodes = [
        node("ReduceMean", ["x"], ["mean"], axes=[-1]),
        node("Sub", ["x", "mean"], ["centred"]),
        node("Pow", ["centred", "two"], ["squares"]),
        node("ReduceMean", ["squares"], ["var"], axes=[-1]),
        node("Add", ["var", "epsilon"], ["safe"]),
        node("Sqrt", ["safe"], ["std"]),
        node("Div", ["centred", "std"], ["h"]),
    ]
    for i, name in enumerate("qkv"):
        nodes.append(node("MatMul", ["h", f"w{i}"], [f"{name}_product"]))
        nodes.append(node("Add", [f"{name}_product", f"b{i}"], [name]))
    nodes += [
        node("Transpose", ["k"], ["k_t"], perm=[0, 2, 1]),
        node("MatMul", ["q", "k_t"], ["scores"]),
        node("Softmax", ["scores"], ["attention"], axis=-1),
        node("MatMul", ["attention", "v"], ["mixed"]),
        node("MatMul", ["mixed", "w3"], ["out_product"]),
        node("Add", ["out_product", "b3"], ["out"]),
        node("Add", ["x", "out"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "attention", [floats("x", "n", 4, 8)], [floats("y", "n", 4, 8)], weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def prepared(model: onnx.ModelProto | Path, opset: int) -> GraphView:
    if isinstance(model, Path):
        return prepare(read_model(model), opset)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return prepare(read_model(path), opset)


def ranges(graph: GraphView, space: SearchSpace, scheme: QuantScheme) -> dict[str, TensorRange]:
    """Made up, some of them never negative."""
    tensors = sorted(frozenset().union(*quantizable(graph, scheme, space).values()))
    return {t: TensorRange(-0.25 * (i % 4), 0.5 + 0.75 * (i % 5)) for i, t in enumerate(tensors)}


def assignments(space: SearchSpace) -> dict[str, Assignment]:
    def turns(*choices: Precision) -> Assignment:
        wanted = {
            g.key: choices[i % len(choices)]
            for i, g in enumerate(space.free)
            if choices[i % len(choices)] in g.choices
        }
        return space.canonical(Assignment.of(wanted))

    return {
        "fp32": Assignment(),
        "int8": space.uniform(INT8),
        "fp16": space.uniform(FP16),
        "int8 fp32": turns(INT8, INT8, FP32),
        "fp16 fp32": turns(FP16, FP32),
        "int8 fp16 fp32": turns(INT8, INT8, FP16, FP16, FP32),
    }


MODELS: dict[str, onnx.ModelProto | Path] = {
    "digits": EXAMPLE,
    "opset 9": old_conv_net(9),
    "opset 11": old_conv_net(11),
    "attention": attention_net(),
}
FORMS: dict[str, tuple[GraphForm, QuantScheme]] = {
    "opset 13, FP32 around INT8": (TYPED, SCHEME),
    "opset 19, FP16 around INT8": (TYPED_HALF, SCHEME),
    "TensorRT, weak": (WEAK, TENSORRT),
    "TensorRT, typed": (TYPED_HALF, TENSORRT),
}


def lowered() -> Iterator[tuple[str, Lowered]]:
    """Every model in every form and assignment, by name."""
    for model_name, model in MODELS.items():
        for name_of_form, (form, scheme) in FORMS.items():
            graph = prepared(model, form.min_opset)
            space = group(graph, scheme, frozenset(Precision))
            scales = RangeScales(ranges(graph, space, scheme), scheme)
            lowering = Lowering(graph, space, scheme, scales, form)
            for name, assignment in assignments(space).items():
                yield f"{model_name} | {name_of_form} | {name}", lowering.lower(assignment)


def versions() -> dict[str, int]:
    """Name of each form → version of the lowering that writes it."""
    return {form.name: lowering_version(form.name) for form, _ in FORMS.values()}


def pinned(made: Lowered) -> list[str]:
    """SHA-256 of the bytes, and of the digests that tell a replay where it differs."""
    parts = json.dumps(made.parts, sort_keys=True).encode()
    return [made.sha256, hashlib.sha256(parts).hexdigest()]


if __name__ == "__main__":
    rows = ",\n".join(f'  "{n}": {json.dumps(pinned(made))}' for n, made in lowered())
    print(f'{{\n "lowering": {json.dumps(versions())},\n "digests": {{\n{rows}\n }}\n}}')
