"""Open dimensions that share a name and not a size are built without the name."""

from __future__ import annotations

import onnx
import pytest

from precsearch.backends.tensorrt.building.profiles import drop_shared_names
from tests.backends.trt.rtx.building import built
from tests.graph.small_graphs import conv_net


def named(*dims: str | int) -> onnx.ModelProto:
    model = conv_net()
    model.opset_import[0].version = 19
    (value,) = model.graph.input
    for dim, size in zip(value.type.tensor_type.shape.dim, dims, strict=True):
        dim.Clear()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def names_after(model: onnx.ModelProto, *sets: tuple[int, ...]) -> list[str]:
    (value,) = model.graph.input
    found = drop_shared_names(model, [{value.name: one} for one in sets])
    names = [dim.dim_param for dim in value.type.tensor_type.shape.dim]
    assert found == ("?" not in names)
    return names


@pytest.mark.parametrize(
    ("sets", "left"),
    [
        ([(2, 3, 8, 8)], ["n", "", "?", "?"]),
        ([(2, 3, 8, 8), (4, 3, 16, 16)], ["n", "", "?", "?"]),
        ([(2, 3, 8, 16)], ["n", "", "", ""]),
        ([(2, 3, 8, 8), (2, 3, 8, 16), (4, 3, 16, 8)], ["n", "", "", ""]),
        ([], ["n", "", "?", "?"]),
    ],
)
def test_a_name_is_dropped_where_one_set_of_shapes_contradicts_it(
    sets: list[tuple[int, ...]], left: list[str]
) -> None:
    assert names_after(named("n", 3, "?", "?"), *sets) == left


@pytest.mark.rtx
def test_a_real_builder_takes_such_a_model() -> None:
    model = named("n", 3, "?", "?")
    name = model.graph.input[0].name
    built(model.SerializeToString(), "SM89", [{name: (2, 3, 8, 16)}, {name: (2, 3, 16, 8)}])
