"""An operator that ONNX has in a format and the engine does not build is not offered it."""

from __future__ import annotations

import onnx
import pytest

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED, TYPED_HALF
from precsearch.core.formats import BFLOAT16, FLOAT16
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.graph.small_graphs import GraphBuilder, conv, view

BF16, FP16, FP32 = Precision.BF16, Precision.FP16, Precision.FP32


def upsampling() -> GraphView:
    b = GraphBuilder(22)
    x = conv(b, b.input(["n", 4, 6, 6]), 4, 4)
    x = b.op("ConvTranspose", x, b.weight(4, 4, 2, 2), strides=[2, 2])
    b.output(b.op("HardSwish", x))
    return view(b.model())


@pytest.mark.parametrize("op_type", ["ConvTranspose", "HardSwish"])
def test_bf16_is_not_offered_where_the_builder_refuses_it(op_type: str) -> None:
    assert not TYPED_HALF.takes(op_type, BFLOAT16)
    assert TYPED_HALF.takes(op_type, FLOAT16)
    assert TYPED_HALF.raised(22).lacks == TYPED_HALF.lacks
    graph = upsampling()
    (node,) = (n for n in graph.nodes if n.is_op(op_type))
    for form, offered in ((TYPED.raised(22), True), (TYPED_HALF.raised(22), False)):
        space = group(graph, scheme(), frozenset({FP32, BF16, FP16}), "node", form)
        choices = space.by_key[node.key].choices
        assert FP16 in choices
        assert (BF16 in choices) is offered


def test_bf16_is_not_written_within_a_group_where_the_builder_refuses_it() -> None:
    graph = upsampling()
    keys = tuple(n.key for n in graph.nodes)
    space = SearchSpace((LayerGroup(keys[-1], "block", keys, (FP32, BF16)),))
    scales = RangeScales({}, scheme())
    lowering = Lowering(graph, space, scheme(), scales, TYPED_HALF.raised(22))
    made = lowering.lower(Assignment.of({keys[-1]: BF16}))
    proto = onnx.load_model_from_string(made.model)
    types = {
        v.name: v.type.tensor_type.elem_type
        for v in onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph.value_info
    }
    (transposed,) = (n for n in proto.graph.node if n.op_type == "ConvTranspose")
    assert types[transposed.input[0]] == onnx.TensorProto.FLOAT
    assert set(made.asked) == {keys[0]}
