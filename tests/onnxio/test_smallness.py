"""Hints about layers that INT8 is unlikely to speed up, from shapes alone."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.onnxio.group import group
from precsearch.onnxio.smallness import int8_hints
from precsearch.space import Precision
from tests.onnxio.small_graphs import GraphBuilder, attention, heads, view

SCHEME = scheme()


def hint(model: onnx.ModelProto) -> str:
    """The hint about the only group that could run in INT8."""
    graph = view(model)
    space = group(graph, SCHEME, frozenset(Precision))
    (key,) = [g.key for g in space.groups if Precision.INT8 in g.choices]
    found = int8_hints(graph, space)
    assert set(found) <= {key}
    return found.get(key, "")


def conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1, **more: Any) -> str:
    b = GraphBuilder()
    x = b.input(["n", inputs, 8, 8])
    weight = b.weight(outputs, inputs // groups, kernel, kernel)
    b.output(b.op("Conv", x, weight, group=groups, **more))
    return hint(b.model())


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "groups", "named"),
    [
        (16, 16, 3, 1, False),
        (64, 256, 1, 1, False),
        (15, 64, 3, 1, True),
        (64, 8, 3, 1, True),
        (3, 64, 7, 1, False),  # the first layer
        (3, 60, 7, 1, True),
        (32, 32, 3, 32, False),
        (32, 32, 1, 32, True),
        (36, 36, 3, 4, True),
    ],
)
def test_convolutions(inputs: int, outputs: int, kernel: int, groups: int, named: bool) -> None:
    found = conv(inputs, outputs, kernel, groups)
    assert bool(found) == named
    if named:
        assert str(outputs) in found


@pytest.mark.parametrize(("inputs", "outputs", "named"), [(16, 32, False), (32, 4, True)])
def test_a_transposed_convolution_has_its_channels_the_other_way(
    inputs: int, outputs: int, named: bool
) -> None:
    b = GraphBuilder()
    x = b.input(["n", inputs, 8, 8])
    b.output(b.op("ConvTranspose", x, b.weight(inputs, outputs, 2, 2), strides=[2, 2]))
    assert bool(hint(b.model())) == named


@pytest.mark.parametrize(
    ("shape", "inner", "columns", "words"),
    [
        (["n", 64], 64, 32, ""),
        ([1, 64], 64, 32, "vector"),
        ([1, 6, 64], 64, 32, ""),
        (["n", 64], 64, 1, "vector"),
        (["n", 64], 64, 10, "10"),
        (["n", 12], 12, 64, "12"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_products(
    shape: list[int | str], inner: int, columns: int, words: str, turned: bool
) -> None:
    b = GraphBuilder()
    x = b.input(shape)
    if turned and len(shape) == 2:
        b.output(b.op("Gemm", x, b.weight(columns, inner), transB=1))
    else:
        b.output(b.op("MatMul", x, b.weight(inner, columns)))
    found = hint(b.model())
    assert words in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize(("size", "named"), [(8, True), (32, False)])
def test_an_attention_core_is_named_if_both_its_products_are_small(size: int, named: bool) -> None:
    b = GraphBuilder()
    q, k, v = (heads(b, b.input(["n", 32, 2 * size]), 2, size) for _ in range(3))
    b.output(attention(b, q, k, v, size))
    graph = view(b.model())
    space = group(graph, SCHEME, frozenset(Precision))
    core = next(g.key for g in space.groups if g.kind == "attention")
    assert (core in int8_hints(graph, space)) == named


def test_a_tensor_of_a_few_elements() -> None:
    b = GraphBuilder()
    b.output(b.op("MatMul", b.input([1, 4]), b.weight(4, 32)))
    assert "4 elements" in hint(b.model())


def test_what_has_no_int8_form_has_no_hint() -> None:
    b = GraphBuilder()
    b.output(b.op("Sigmoid", b.op("MatMul", b.input([1, 4]), b.weight(4, 3))))
    graph = view(b.model())
    space = group(graph, SCHEME, frozenset({Precision.FP32, Precision.FP16}))
    assert int8_hints(graph, space) == {}
