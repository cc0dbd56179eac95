"""Where a hazard's path begins and ends, and what is left alone because nothing is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.core.precision import Precision
from precsearch.grouping.group import group
from precsearch.hazards import hazards, softmax_axes
from tests.graph.small_layers import SCHEME, GraphBuilder, linear, view
from tests.hazards.by_rule import Build, Ruled

TOL = 1e-2


def inverse_root(b: GraphBuilder, x: str) -> str:
    """x / sqrt(x² of small values), written with an exponent of -0.5."""
    small = b.op("Mul", x, b.const(1e-5))
    square = b.op("Add", b.op("Mul", small, small), b.const(1e-12))
    return b.op("Mul", small, b.op("Pow", square, b.const(-0.5)))


def hardly_normal(b: GraphBuilder, x: str) -> str:
    """What a Log reads is not 0, but too small for more than a few bits."""
    small = b.op("Mul", b.op("Sigmoid", x), b.const(2e-6))
    return b.op("Add", b.op("Log", small), b.const(14.0))


@pytest.mark.parametrize("build", [inverse_root, hardly_normal], ids=["Pow", "Log"])
def test_small_values_before_a_division_are_found_and_a_rewrite_repairs_them(build: Build) -> None:
    case = Ruled(build)
    assert case.reasons()
    assert not case.loss(()) <= TOL
    assert case.loss(case.reasons()) <= TOL


def test_values_that_stay_above_zero_are_reported_as_small() -> None:
    reasons = set(Ruled(hardly_normal).reasons().values())
    assert any("are below 6.1e-05, and Log" in r for r in reasons), reasons


def test_a_square_is_not_harmed_by_zero() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        small = b.op("Mul", x, b.const(1e-5))
        return b.op("Add", b.op("Pow", small, b.const(2.0)), x)

    assert Ruled(build).reasons() == {}


@pytest.mark.parametrize(
    ("between", "user"),
    [
        ((), "Log"),
        (("Sqrt",), "Reciprocal"),
        (("Sqrt", "Abs", "Neg"), "Reciprocal"),
        (("Sqrt",), "Div"),
    ],
)
def test_without_a_run_an_epsilon_is_followed_to_the_division(
    between: tuple[str, ...], user: str
) -> None:
    """Over roots and signs, also where another node reads the sum first."""

    def build(b: GraphBuilder, x: str) -> str:
        kept = b.op("Add", b.op("Mul", x, x), b.const(1e-10))
        other = b.op("Tanh", kept)
        for op_type in between:
            kept = b.op(op_type, kept)
        divided = b.op("Div", x, kept) if user == "Div" else b.op(user, kept)
        return b.op("Add", other, divided)

    case = Ruled(build, measured=False)
    (reason,) = case.reasons().values()
    assert case.ops() == ["Add"]
    assert f"becomes zero, and {user}" in reason


@pytest.mark.parametrize("reader", ["Sqrt", "Tanh", "numerator"])
def test_without_a_run_an_epsilon_that_nothing_divides_by_is_left(reader: str) -> None:
    def build(b: GraphBuilder, x: str) -> str:
        kept = b.op("Add", b.op("Mul", x, x), b.const(1e-10))
        if reader == "numerator":
            return b.op("Div", kept, b.const(3.0))
        return b.op(reader, kept)

    assert Ruled(build, measured=False).reasons() == {}


def test_a_softplus_of_large_values_overflows_inside() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        return b.op("Softplus", b.op("Mul", b.op("Tanh", x), b.const(20.0)))

    (reason,) = Ruled(build).reasons().values()
    assert "inside of Softplus" in reason
    assert Ruled(lambda b, x: b.op("Softplus", b.op("Tanh", x))).reasons() == {}


def test_squares_within_a_norm_count() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        return b.op("ReduceL2", b.op("Mul", x, b.const(100.0)), axes=[1], keepdims=1)

    (reason,) = Ruled(build).reasons().values()
    assert "inside of ReduceL2" in reason
    small = Ruled(lambda b, x: b.op("ReduceL2", x, axes=[1], keepdims=1))
    assert small.reasons() == {}


def test_an_input_beyond_the_range_is_reported_at_its_reader() -> None:
    values = np.random.default_rng(0).standard_normal((4, 64)) * 1e5
    case = Ruled(lambda b, x: b.op("Mul", x, b.const(1e-5)), values)
    (reason,) = case.reasons().values()
    assert "it reads tensor 'x'" in reason
    assert case.ops() == ["Mul"]


@pytest.mark.parametrize(("numerator", "harmless"), [(1.0, True), (7e4, False)])
def test_a_division_by_what_overflows_is_harmless_only_if_the_quotient_may_be_zero(
    numerator: float, harmless: bool
) -> None:
    """Beside quotients near 1, ``numerator`` / inf = 0 is close enough; 7e4 is infinite itself."""

    def build(b: GraphBuilder, x: str) -> str:
        by = b.const(np.where(np.arange(64) == 5, 1e6, numerator))
        return b.op("Div", b.op("Abs", b.op("Mul", b.op("Tanh", x), b.const(numerator))), by)

    case = Ruled(build)
    assert (case.reasons() == {}) == harmless
    assert case.loss(case.reasons()) <= TOL


def test_an_infinity_added_to_another_is_not_harmless() -> None:
    """-inf + inf is NaN where FP32 has two large numbers that a Sigmoid makes 0 or 1."""

    def build(b: GraphBuilder, x: str) -> str:
        large = b.op("Mul", x, b.const(1e6))
        return b.op("Sigmoid", b.op("Add", large, b.op("Mul", large, b.const(-0.5))))

    case = Ruled(build)
    assert "Add" in case.ops()
    assert not case.loss(()) <= TOL
    assert case.loss(case.reasons()) <= TOL


def test_cancellation_is_followed_through_layout_nodes() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        moved = b.op("Add", linear(b, x, 64, 64), b.const(512.0))
        back = b.op("Sub", moved, b.const(512.0))
        half = b.op("Slice", back, b.ints(0), b.ints(32), b.ints(1))
        return linear(b, half, 32, 64)

    case = Ruled(build)
    assert any("cancel" in r for r in case.reasons().values())
    assert not case.loss(()) <= TOL
    assert case.loss(case.reasons()) <= TOL


def test_zeros_are_no_reason_to_follow_a_cancellation() -> None:
    """A summand that is 0 throughout has no rounding error."""

    def build(b: GraphBuilder, x: str) -> str:
        zero = b.op("Mul", x, b.const(0.0))
        moved = b.op("Add", b.op("Add", x, b.const(512.0)), zero)
        return linear(b, b.op("Sub", moved, b.const(512.0)), 64, 64)

    case = Ruled(build)
    assert "Mul" not in case.ops()
    assert {"Add", "Sub"} <= set(case.ops())


def test_a_tensor_that_two_softmaxes_take_over_other_axes_has_no_rows() -> None:
    b = GraphBuilder()
    x, y = b.input(["n", 8, 8], name="x"), b.input(["n", 8, 8], name="y")
    b.output(b.op("Add", b.op("Softmax", x, axis=1), b.op("Softmax", x, axis=2)))
    b.output(b.op("Softmax", y, axis=1))
    assert softmax_axes(view(b.model())) == {"y": 1}


@pytest.mark.parametrize(("groups", "hinted"), [(1, True), (4, False)])
def test_channels_are_counted_where_a_convolution_has_one_group(groups: int, hinted: bool) -> None:
    b = GraphBuilder()
    b.output(b.op("Conv", b.input(["n", 8, 6, 6]), b.weight(8, 8 // groups, 3, 3), group=groups))
    graph = view(b.model())
    space = group(graph, SCHEME, frozenset(Precision))
    said = [p.reason for p in hazards(graph, space, None, SCHEME) if p.precision is Precision.INT8]
    assert any("only 8 channels" in s for s in said) == hinted
