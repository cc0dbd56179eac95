"""Models whose names, shapes or structure are unusual."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graph.small_graphs import GraphBuilder, batch_norm, conv, gemm_head, linear

FLOAT = TensorProto.FLOAT


def zero_size() -> onnx.ModelProto:
    """A tensor without elements between two layers, a constant without any, and a scalar input."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    empty = b.op("Slice", x, b.ints(0), b.ints(0), b.ints(1))
    x = b.op("Concat", x, b.op("MatMul", empty, b.weight(0, 3)), axis=1)
    x = b.op("Mul", x, b.op("Add", b.input([], name="gain"), b.const(1.0)))
    rest = b.op("MatMul", b.op("Concat", empty, empty, axis=1), b.weight(0, 4))
    nothing = b.op("Concat", b.const(np.zeros((0, 4))), linear(b, x, 11, 4), axis=0)
    b.output(b.op("Add", nothing, rest))
    return b.model()


def scalars() -> onnx.ModelProto:
    """Rank 0 from end to end beside a layer: a weight, an activation and an output."""
    b = GraphBuilder()
    x = linear(b, b.input([1, 8]), 8, 8)
    total = b.op("ReduceSum", x, keepdims=0)
    b.output(b.op("Add", b.op("Relu", total), b.op("ReduceMax", x, keepdims=0)))
    b.output(linear(b, b.op("Mul", x, total), 8, 4))
    return b.model()


def same_names() -> onnx.ModelProto:
    """All nodes have one name; tensors are called like what a lowering adds to others."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8], name="x//half"), 8, 8)
    b.output(linear(b, b.op("Relu", x), 8, 4))
    model = b.model()
    for node in model.graph.node:
        node.name = "node"
    _rename(model, {"t1": "y//q", "t2": "z//raw//dq"})
    return model


def _rename(model: onnx.ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(t, t) for t in tensors]


def left_over() -> onnx.ModelProto:
    """Initializers that nothing uses, a dead branch, an unused input, a weight as output."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    b.input(["n", 3], name="unused")
    b.weight(1000, 10)
    b.op("Exp", x)
    b.output(linear(b, x, 8, 4))
    model = b.model()
    model.graph.output.append(helper.make_tensor_value_info("w0", FLOAT, [8, 8]))
    return model


def passed_through() -> onnx.ModelProto:
    """An input that is an output, and an output that another node reads."""
    b = GraphBuilder()
    x = b.output(b.input(["n", 8], name="x"))
    y = b.output(linear(b, x, 8, 8))
    b.output(linear(b, b.op("Relu", y), 8, 4))
    return b.model()


def recurrent_cell() -> onnx.ModelProto:
    """A cell that is given its state and gives it back."""
    b = GraphBuilder()
    x, h = b.input(["batch", 16], name="x"), b.input([2, "batch", 8], name="state")
    first, second = (b.op("Squeeze", t, b.ints(0)) for t in b.ops("Split", h, count=2, axis=0))
    a = b.op("Tanh", b.op("Add", linear(b, x, 16, 8), linear(b, first, 8, 8)))
    c = b.op("Sigmoid", b.op("Add", linear(b, a, 8, 8), linear(b, second, 8, 8)))
    b.output(linear(b, c, 8, 1))
    b.output(b.op("Concat", *(b.op("Unsqueeze", t, b.ints(0)) for t in (a, c)), axis=0))
    return b.model()


def lstm() -> onnx.ModelProto:
    """The recurrent operators themselves, with an input left out in the middle."""
    b = GraphBuilder()
    x = linear(b, b.input(["seq", 1, 8]), 8, 8)
    w, r, bias = b.weight(1, 16, 8), b.weight(1, 16, 4), b.weight(1, 32)
    out = b.ops("LSTM", x, w, r, bias, "", b.const(np.zeros((1, 1, 4))), count=3, hidden_size=4)
    b.output(linear(b, b.op("Squeeze", out[0], b.ints(1)), 4, 2))
    b.output(out[2])
    return b.model()


def sparse_weight() -> onnx.ModelProto:
    """A weight that is stored as a sparse tensor."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    b.output(b.op("MatMul", x, "sparse"))
    model = b.model()
    values = numpy_helper.from_array(np.array([1.0, -2.0, 0.5], np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([0, 9, 31], np.int64), "sparse_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8, 4]))
    return model


def no_layers() -> onnx.ModelProto:
    """Nothing that any precision could change."""
    b = GraphBuilder()
    x = b.input(["n", 8], TensorProto.INT64)
    b.output(b.op("Add", b.op("Abs", x), b.const(1, np.int64)), TensorProto.INT64)
    return b.model()


def shared_conv() -> onnx.ModelProto:
    """A BatchNormalization that is not the only reader of its Conv, so it cannot be folded."""
    b = GraphBuilder()
    x = conv(b, b.input([1, 3, 8, 8]), 3, 4)
    y = b.op("Relu", batch_norm(b, x, 4))
    b.output(b.op("Add", y, conv(b, x, 4, 4)))
    return b.model()


def nan_inside() -> onnx.ModelProto:
    """A branch that is infinite for every input and does not reach the output."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    inf = linear(b, b.op("Div", x, b.const(0.0)), 8, 8)
    y = b.op("Where", b.op("IsNaN", inf), x, x)
    b.output(linear(b, y, 8, 4))
    return b.model()


def sequences() -> onnx.ModelProto:
    """Tensors in a sequence between two layers."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    listed = b.op("SequenceConstruct", x, b.op("Relu", x))
    b.output(linear(b, b.op("ConcatFromSequence", listed, axis=1), 16, 4))
    return b.model()


def sequence_output() -> onnx.ModelProto:
    """An output that is no tensor."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    y = b.op("SequenceConstruct", x, b.op("Relu", x))
    b.outputs.append(helper.make_tensor_sequence_value_info(y, FLOAT, None))
    return b.model()


def random_numbers() -> onnx.ModelProto:
    """Outputs that no two runs agree on."""
    b = GraphBuilder()
    x = linear(b, b.input(["n", 8]), 8, 8)
    b.output(linear(b, b.op("Add", x, b.op("RandomNormalLike", x)), 8, 4))
    return b.model()


def dynamic_sequence() -> onnx.ModelProto:
    """Batch and sequence are open; a mask that the shape is computed for."""
    b = GraphBuilder()
    x = linear(b, b.input(["batch", "sequence", 8]), 8, 8)
    size = b.op("Gather", b.op("Shape", x), b.const(1, np.int64), axis=0)
    steps = b.op("Range", b.const(0, np.int64), size, b.const(1, np.int64))
    x = b.op("Add", x, b.op("Unsqueeze", b.op("Cast", steps, to=FLOAT), b.ints(0, 2)))
    b.output(linear(b, b.op("Softmax", x, axis=-1), 8, 4))
    return b.model()


def out_of_order() -> onnx.ModelProto:
    """Nodes in reverse order."""
    model = gemm_head()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


# Refused.


def too_few_inputs() -> onnx.ModelProto:
    """An Add of one tensor."""
    model = gemm_head()
    model.graph.node[1].op_type = "Add"
    return model


def undefined_tensor() -> onnx.ModelProto:
    """A node reads what nothing writes."""
    model = gemm_head()
    model.graph.node[1].input[0] = "nowhere"
    return model


def lowered_names() -> onnx.ModelProto:
    """A tensor is called what a lowering calls the FP16 form of another one."""
    model = gemm_head()
    _rename(model, {"t1": "t0//half"})
    return model


def unknown_operator() -> onnx.ModelProto:
    """An operator that no operator set has, in a model that must be raised."""
    model = gemm_head()
    model.opset_import[0].version = 11
    model.graph.node[1].op_type = "Mystery"
    return model


def future_opset() -> onnx.ModelProto:
    """An operator set that is not there yet."""
    model = gemm_head()
    model.opset_import[0].version = 99
    return model


def written_twice() -> onnx.ModelProto:
    """Two nodes write one tensor."""
    model = gemm_head()
    model.graph.node.append(helper.make_node("Neg", ["in0"], [model.graph.node[0].output[0]]))
    return model


def string_input() -> onnx.ModelProto:
    """Text in."""
    b = GraphBuilder()
    b.input(["n"], TensorProto.STRING, name="text")
    b.output(linear(b, b.input(["n", 8]), 8, 4))
    return b.model()
