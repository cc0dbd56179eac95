"""What only looks like a norm, a GELU, a SiLU or an attention core is not taken for one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.graph.small_graphs import GraphBuilder, attention, heads, linear
from tests.graph.small_layers import mean
from tests.grouping.test_group_patterns import groups_of

Make = Callable[[GraphBuilder, str], str]


def kinds(make: Make, width: int = 16) -> list[str]:
    """Kinds of the groups of what is made of ``x``."""
    b = GraphBuilder()
    return [k for k, _ in groups_of(b, make(b, b.input(["n", 6, width])))]


def root_of_no_sum(b: GraphBuilder, x: str) -> str:
    centred = b.op("Sub", x, mean(b, x))
    return b.op("Div", centred, b.op("Sqrt", mean(b, b.op("Mul", centred, centred))))


def epsilon_by_channel(b: GraphBuilder, x: str) -> str:
    centred = b.op("Sub", x, mean(b, x))
    shifted = b.op("Add", mean(b, b.op("Mul", centred, centred)), b.weight(16))
    return b.op("Div", centred, b.op("Sqrt", shifted))


def root_of_a_sum_of_no_mean(b: GraphBuilder, x: str) -> str:
    return b.op("Div", x, b.op("Sqrt", b.op("Add", b.op("Mul", x, x), b.const(1e-5))))


def mean_of_a_cube(b: GraphBuilder, x: str) -> str:
    shifted = b.op("Add", mean(b, b.op("Pow", x, b.const(3.0))), b.const(1e-5))
    return b.op("Div", x, b.op("Sqrt", shifted))


def mean_of_a_product(b: GraphBuilder, x: str) -> str:
    shifted = b.op("Add", mean(b, b.op("Mul", x, b.op("Tanh", x))), b.const(1e-5))
    return b.op("Div", x, b.op("Sqrt", shifted))


def cube_root(b: GraphBuilder, x: str) -> str:
    shifted = b.op("Add", mean(b, b.op("Mul", x, x)), b.const(1e-5))
    return b.op("Div", x, b.op("Pow", shifted, b.const(1 / 3)))


def root_that_divides_another(b: GraphBuilder, x: str) -> str:
    root = b.op("Sqrt", b.op("Add", mean(b, b.op("Mul", x, x)), b.const(1e-5)))
    return b.op("Div", b.op("Tanh", x), root)


NO_NORMS: list[Make] = [
    root_of_no_sum,
    epsilon_by_channel,
    root_of_a_sum_of_no_mean,
    mean_of_a_cube,
    mean_of_a_product,
    cube_root,
    root_that_divides_another,
]


@pytest.mark.parametrize("make", NO_NORMS)
def test_similar_graphs_are_not_norms(make: Make) -> None:
    assert not {"layernorm", "rmsnorm"} & set(kinds(make))


def test_a_norm_of_a_shift_by_another_mean_is_one_of_what_is_shifted() -> None:
    """The mean is another tensor's, so it is no part of it; what is left is an RMSNorm."""

    def make(b: GraphBuilder, x: str) -> str:
        shifted = b.op("Sub", x, mean(b, b.op("Tanh", x)))
        root = b.op("Sqrt", b.op("Add", mean(b, b.op("Mul", shifted, shifted)), b.const(1e-5)))
        return b.op("Div", shifted, root)

    assert sorted(set(kinds(make))) == ["node", "rmsnorm"]


def test_a_norm_takes_one_shift() -> None:
    def make(b: GraphBuilder, x: str) -> str:
        root = b.op("Sqrt", b.op("Add", mean(b, b.op("Mul", x, x)), b.const(1e-5)))
        normed = b.op("Add", b.op("Div", x, root), b.weight(16))
        return b.op("Add", normed, b.weight(16))

    b = GraphBuilder()
    found = groups_of(b, make(b, b.input(["n", 6, 16])))
    assert [ops[-2:] for kind, ops in found if kind == "rmsnorm"] == [["Div", "Add"]]
    assert [ops for kind, ops in found if kind != "rmsnorm"] == [["Add"]]


def curve(b: GraphBuilder, x: str, plus: float = 1.0) -> str:
    return b.op("Add", b.op("Erf", b.op("Div", x, b.const(np.sqrt(2)))), b.const(plus))


NO_GELUS: dict[str, Make] = {
    "plus two": lambda b, x: b.op("Mul", x, curve(b, x, 2.0)),
    "not multiplied": lambda b, x: b.op("Tanh", curve(b, x)),
    "only halved": lambda b, x: b.op("Tanh", b.op("Mul", curve(b, x), b.const(0.5))),
    "scaled by channel": lambda b, x: b.op("Mul", b.op("Mul", x, b.weight(16)), curve(b, x)),
    "of another curve": lambda b, x: b.op("Mul", x, curve(b, b.op("Sin", x))),
}


@pytest.mark.parametrize("name", NO_GELUS)
def test_similar_graphs_are_not_gelus(name: str) -> None:
    assert "gelu" not in kinds(NO_GELUS[name])


@pytest.mark.parametrize(
    ("op_type", "value", "taken"),
    [("Mul", 0.5, 1), ("Mul", 3.0, 0), ("Div", 2.0, 1), ("Div", 3.0, 0)],
)
def test_a_gelu_ends_with_its_factor_of_a_half(op_type: str, value: float, taken: int) -> None:
    b = GraphBuilder()
    x = b.input(["n", 6, 16])
    y = b.op(op_type, b.op("Mul", x, curve(b, x)), b.const(value))
    (gelu,) = [ops for kind, ops in groups_of(b, y) if kind == "gelu"]
    assert len(gelu) == 4 + taken


def test_a_gelu_may_read_its_intermediate_tensor_several_times() -> None:
    """tanh(y + 0.07 y³), y = 0.8 x."""

    def make(b: GraphBuilder, x: str) -> str:
        y = b.op("Mul", x, b.const(np.sqrt(2 / np.pi)))
        cube = b.op("Mul", b.op("Mul", b.op("Mul", y, y), y), b.const(0.07))
        plus = b.op("Add", b.op("Tanh", b.op("Add", y, cube)), b.const(1.0))
        return b.op("Mul", b.op("Mul", x, b.const(0.5)), plus)

    assert kinds(make) == ["gelu"]


def test_a_long_polynomial_is_not_a_quick_gelu() -> None:
    def long(steps: int) -> Make:
        def make(b: GraphBuilder, x: str) -> str:
            inner = x
            for _ in range(steps):
                inner = b.op("Mul", inner, b.const(1.1))
            return b.op("Mul", x, b.op("Sigmoid", inner))

        return make

    assert kinds(long(1)) == ["gelu"]
    assert "gelu" not in kinds(long(2))
    assert "gelu" not in kinds(long(14))


def test_a_gate_on_itself_is_not_a_silu() -> None:
    def squared(b: GraphBuilder, x: str) -> str:
        gate = b.op("Sigmoid", x)
        return b.op("Mul", gate, gate)

    assert not {"silu", "gelu"} & set(kinds(squared))
    assert "silu" not in kinds(lambda b, x: b.op("Mul", b.op("Sigmoid", x), b.const(2.0)))


def core(b: GraphBuilder, q: str) -> str:
    k, v = (heads(b, b.input(["n", 6, 16]), 2, 8) for _ in range(2))
    return attention(b, q, k, v, 8)


def test_the_scale_before_a_product_is_found_through_reshapes() -> None:
    def ops(make: Make) -> list[str]:
        b = GraphBuilder()
        found = groups_of(b, core(b, make(b, b.input(["n", 2, 6, 8]))))
        return next(ops for kind, ops in found if kind == "attention")

    plain = ops(lambda b, q: q)
    scaled = ops(lambda b, q: b.op("Identity", b.op("Mul", q, b.const(0.3))))
    assert len(scaled) == len(plain) + 2
    assert ops(lambda b, q: b.op("Tanh", q)) == plain
    assert ops(lambda b, q: b.op("Mul", q, b.weight(8))) == plain


def test_softmax_of_a_product_with_a_weight_is_not_attention() -> None:
    def make(b: GraphBuilder, x: str) -> str:
        return b.op("MatMul", b.op("Softmax", linear(b, x, 16, 6)), x)

    assert "attention" not in kinds(make)


def test_scaled_weights_are_part_of_the_core() -> None:
    b = GraphBuilder()
    q, k, v = (heads(b, b.input(["n", 6, 16]), 2, 8) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    weights = b.op("Identity", b.op("Mul", b.op("Softmax", scores), b.const(0.9)))
    found = groups_of(b, b.op("MatMul", weights, v))
    (core_ops,) = [ops for kind, ops in found if kind == "attention"]
    assert core_ops == ["MatMul", "Softmax", "Mul", "Identity", "MatMul"]


def test_attention_weights_may_be_an_output_of_the_model() -> None:
    b = GraphBuilder()
    q, k, v = (heads(b, b.input(["n", 6, 16]), 2, 8) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    weights = b.op("Softmax", scores)
    shown = b.op("Transpose", weights, perm=[0, 2, 1, 3])
    found = groups_of(b, shown, b.op("MatMul", weights, v))
    (core_ops,) = [ops for kind, ops in found if kind == "attention"]
    assert [op for op in core_ops if op != "Transpose"] == ["MatMul", "Softmax", "MatMul"]
