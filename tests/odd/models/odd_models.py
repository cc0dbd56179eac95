"""Every odd model by name: tests search them, `benchmarks/odd_models.py` reports on them."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graph.small_graphs import conv_net, gemm_head, transformer
from tests.odd.models import odd_graphs as graphs
from tests.odd.models import odd_shapes as shapes

__all__ = ["MODELS", "REFUSED", "Make"]

Make = Callable[[], onnx.ModelProto]


def retyped(model: onnx.ModelProto, elem_type: int) -> onnx.ModelProto:
    """A float model in another float type throughout."""
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = elem_type
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(dtype)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


MODELS: dict[str, Make] = {
    "If: branches read tensors outside, nested": graphs.if_captured,
    "Loop: body reads a weight outside": graphs.loop_captured,
    "Scan: body reads a tensor outside": graphs.scan_captured,
    "model-local function": graphs.local_function,
    "com.microsoft operator": graphs.contrib_op,
    "Q/DQ of its author, opset 17": graphs.qat,
    "Q/DQ of its author, opset 13": lambda: graphs.qat(13),
    "FP16 throughout": lambda: retyped(transformer(mask=False), TensorProto.FLOAT16),
    "FP64 throughout": lambda: retyped(gemm_head(), TensorProto.DOUBLE),
    "an FP16 layer inside": graphs.half_inside,
    "int and bool outputs": graphs.other_outputs,
    "opset 9, IR 3, weights as inputs": graphs.opset_9,
    "opset 11, If with old forms": graphs.opset_11,
    "opset 23, Attention and RMSNorm": graphs.opset_23,
    "zero-size tensors": shapes.zero_size,
    "scalars": shapes.scalars,
    "one name for all nodes": shapes.same_names,
    "unused initializers and inputs": shapes.left_over,
    "input as output": shapes.passed_through,
    "dynamic batch": conv_net,
    "dynamic batch and sequence": shapes.dynamic_sequence,
    "state in, state out": shapes.recurrent_cell,
    "LSTM": shapes.lstm,
    "sparse weight": shapes.sparse_weight,
    "nodes out of order": shapes.out_of_order,
    "integers alone": shapes.no_layers,
    "Conv shared by BatchNorm and Conv": shapes.shared_conv,
    "infinite inside": shapes.nan_inside,
    "sequence of tensors inside": shapes.sequences,
    "sequence as output": shapes.sequence_output,
    "random numbers inside": shapes.random_numbers,
}
"""Models that must be searched to the end."""

REFUSED: dict[str, Make] = {
    "operator of an unknown domain": graphs.custom_op,
    "Add with one input": shapes.too_few_inputs,
    "undefined tensor": shapes.undefined_tensor,
    "tensor named like a form of another": shapes.lowered_names,
    "unknown operator, opset 11": shapes.unknown_operator,
    "opset 99": shapes.future_opset,
    "tensor written twice": shapes.written_twice,
    "string input": shapes.string_input,
}
"""Models that must be refused in a sentence, with exit code 2."""
