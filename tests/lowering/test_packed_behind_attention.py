"""A product with weights in INT4 is kept apart from the attention core that it reads."""

from __future__ import annotations

import onnx
import pytest

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.attention_nets import attention_net

FORM, CHOSEN = TYPED_HALF.raised(21), scheme(attention=True)
FP16, INT8, INT4 = Precision.FP16, Precision.INT8, Precision.INT4


@pytest.mark.parametrize(
    ("core", "between"),
    [
        (FP16, ["MatMul", "LeakyRelu", "Reshape"]),
        (INT8, ["MatMul", "Cast", "LeakyRelu", "Cast", "Reshape"]),
    ],
)
def test_the_node_between_changes_nothing_and_is_fp32_behind_quantized_data(
    core: Precision, between: list[str]
) -> None:
    graph = attention_net(32, 8, opset=21)
    space = group(graph, CHOSEN, frozenset(Precision), "group", FORM)
    tensors = frozenset().union(*quantizable(graph, CHOSEN, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-4.0, 4.0)), CHOSEN)
    asked = {g.key: core if g.kind == "attention" else g.nearest(INT4) for g in space.free}
    lowering = Lowering(graph, space, CHOSEN, scales, FORM)
    model = onnx.load_model_from_string(lowering.lower(Assignment.of(asked)).model)
    onnx.checker.check_model(model, full_check=True)
    assert [n.name for n in model.graph.node if "//fed" in n.name]
    makers = {t: n for n in model.graph.node for t in n.output}
    (behind,) = (
        n for n in model.graph.node if n.op_type == "MatMul" and n.input[0].endswith("//fed")
    )
    found = [behind]
    while found[-1].op_type != "Reshape":
        found.append(makers[found[-1].input[0]])
    assert [n.op_type for n in found] == between


def test_a_product_behind_another_layer_is_written_as_it_is() -> None:
    graph = attention_net(32, 8, opset=21)
    space = group(graph, CHOSEN, frozenset({Precision.FP32, FP16, INT4}), "group", FORM)
    keys = [g.key for g in space.free if INT4 in g.choices][:4]
    lowering = Lowering(graph, space, CHOSEN, RangeScales({}, CHOSEN), FORM)
    made = lowering.lower(Assignment.of(dict.fromkeys(keys, INT4)))
    nodes = onnx.load_model_from_string(made.model).graph.node
    assert sum(n.op_type == "DequantizeLinear" for n in nodes) == 4
    assert not [n.name for n in nodes if "//fed" in n.name]
