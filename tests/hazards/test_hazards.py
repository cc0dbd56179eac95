"""Rules against FP16: each kind of failure is found, and priors prevent it and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Problem
from precsearch.grouping.group import group
from precsearch.hazards import hazards
from precsearch.hazards.collect import screen
from precsearch_strategies.uniform import uniform_assignments
from tests.graph.small_graphs import MODELS, SCHEME, view
from tests.graph.small_layers import GELU_FORMS, GraphBuilder, layer_norm, linear, rms_norm
from tests.hazards.by_rule import Build, Ruled
from tests.hazards.test_collect import feeds_of, screening

TOL = 1e-2


def scaled_norm(size: float) -> Build:
    return lambda b, x: layer_norm(b, b.op("Mul", linear(b, x, 64, 64), b.const(size)), 64)


def mask(b: GraphBuilder, x: str) -> str:
    """BERT's: (1 - keep) * -3.4e38, which is 0 * -inf = NaN in FP16."""
    keep = b.op("Cast", b.op("Greater", x, b.const(-1.0)), to=onnx.TensorProto.FLOAT)
    drop = b.op("Mul", b.op("Sub", b.const(1.0), keep), b.const(-3.4e38))
    return b.op("Softmax", b.op("Add", linear(b, x, 64, 64), drop))


def log_power(b: GraphBuilder, x: str) -> str:
    small = b.op("Mul", x, b.const(1e-4))
    return b.op("Log", b.op("Add", b.op("Mul", small, small), b.const(1e-10)))


def normalized(b: GraphBuilder, x: str) -> str:
    """x / |x| of small values: what is under the root is 0 in FP16."""
    small = b.op("Mul", x, b.const(1e-4))
    total = b.op("ReduceSum", b.op("Mul", small, small), b.ints(-1), keepdims=1)
    return b.op("Div", small, b.op("Sqrt", b.op("Mul", total, b.const(1e-3))))


def shifted(shift: float) -> Build:
    def build(b: GraphBuilder, x: str) -> str:
        moved = b.op("Add", linear(b, x, 64, 64), b.const(shift))
        return linear(b, b.op("Sub", moved, b.const(shift)), 64, 64)

    return build


def shifted_afar(b: GraphBuilder, x: str) -> str:
    """The shift is taken back two operators later."""
    moved = b.op("Reshape", b.op("Add", x, b.const(256.0)), b.ints(-1, 8, 8))
    moved = b.op("Reshape", b.op("Add", moved, b.const(3.0)), b.ints(-1, 64))
    return b.op("Tanh", b.op("Sub", moved, b.const(259.0)))


def tiny(b: GraphBuilder, x: str) -> str:
    return b.op("Mul", b.op("Mul", linear(b, x, 64, 64), b.const(1e-6)), b.const(6e4))


FAILING: dict[str, tuple[Build, str]] = {
    "variance overflows": (scaled_norm(120.0), "> 65504"),
    "mean of squares overflows": (scaled_norm(1500.0), "> 65504"),
    "RMS norm": (lambda b, x: rms_norm(b, b.op("Mul", x, b.const(300.0)), 64), "> 65504"),
    "mask": (mask, "holds -3.4e+38, beyond 65504"),
    "underflow before Log": (log_power, "Log"),
    "underflow before Div": (normalized, "Div"),
    "cancellation": (shifted(256.0), "cancel"),
    "larger cancellation": (shifted(4096.0), "cancel"),
    "cancellation afar": (shifted_afar, "cancel"),
    "small throughout": (tiny, "too small"),
    "constant": (lambda b, x: b.op("Mul", b.op("Tanh", x), b.const(1e5)), "> 65504"),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("granularity", ["node", "group"])
def test_a_failure_is_found_and_a_rewrite_repairs_it(name: str, granularity: str) -> None:
    build, said = FAILING[name]
    case = Ruled(build, granularity=granularity)
    assert any(said in r for r in case.reasons().values()), case.reasons()
    assert not case.loss(()) <= TOL, "FP16 everywhere must fail"
    assert case.loss(case.reasons()) <= TOL
    if granularity == "node":
        assert case.loss({g.key for g in case.space.groups} - case.reasons().keys()) > TOL


@pytest.mark.parametrize(
    ("name", "ops"),
    [
        ("variance overflows", ["Pow", "ReduceMean"]),
        ("mean of squares overflows", ["Pow", "ReduceMean", "Add", "Sqrt"]),
        ("mask", ["Mul"]),
        ("cancellation", ["Add", "Sub"]),
        ("cancellation afar", ["Add", "Reshape", "Add", "Reshape", "Sub"]),
        ("underflow before Log", ["Mul", "Mul", "Add", "Log"]),
    ],
)
def test_exactly_the_harmful_path_is_excluded(name: str, ops: list[str]) -> None:
    assert Ruled(FAILING[name][0]).ops() == ops


BENIGN: dict[str, Build] = {
    "well-scaled": lambda b, x: layer_norm(b, linear(b, x, 64, 64), 64),
    "tanh-GELU whose cube is infinite": lambda b, x: GELU_FORMS["tanh, half first"](
        b, b.op("Mul", x, b.const(60.0))
    ),
    "sigmoid of large values": lambda b, x: b.op("Sigmoid", b.op("Mul", x, b.const(6e4))),
    "a Clip to all of FP32": lambda b, x: b.op("Clip", x, b.const(-3.4e38), b.const(3.4e38)),
    "masked by Where": lambda b, x: b.op(
        "Softmax", b.op("Where", b.op("Greater", x, b.const(-1.0)), x, b.const(-3.4e38))
    ),
    "a difference of exact numbers": lambda b, x: b.op(
        "Mul", x, b.op("Sub", b.op("Add", b.op("Floor", x), b.const(512.0)), b.const(512.0))
    ),
    "an epsilon that is 0 beside the rest": lambda b, x: b.op(
        "Log", b.op("Add", b.op("Exp", x), b.const(1e-12))
    ),
    "small beside what it is added to": lambda b, x: b.op(
        "Add", x, b.op("Mul", b.op("Tanh", x), b.const(1e-7))
    ),
}


@pytest.mark.parametrize("name", BENIGN)
def test_harmless_groups_are_not_excluded(name: str) -> None:
    case = Ruled(BENIGN[name])
    assert case.reasons() == {}
    assert case.loss(()) <= TOL


def test_a_row_that_is_masked_completely_is_not_harmless() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        keep = b.op("Greater", x, b.const(1e9))
        return b.op("Softmax", b.op("Where", keep, x, b.const(-3.4e38)))

    case = Ruled(build)
    assert set(case.ops()) == {"Where", "Softmax"}
    assert case.loss(()) == float("inf")
    assert case.loss(case.reasons()) <= TOL


def test_values_near_the_limit_are_reported_as_near() -> None:
    case = Ruled(lambda b, x: b.op("Add", b.op("Mul", x, b.const(1.5e4)), x))
    assert any("within 2x of 65504" in r for r in case.reasons().values())


def test_reasons_name_the_origin() -> None:
    case = Ruled(scaled_norm(120.0))
    first, second = case.reasons().values()
    square = next(n.outputs[0] for n in case.graph.nodes if n.is_op("Pow"))
    assert first.startswith("FP16 excluded: absmax ")
    assert first.endswith(f" of tensor {square!r} > 65504")
    assert second.startswith(f"FP16 excluded: it reads tensor {square!r}, absmax ")
    assert second.endswith(" > 65504")


def test_without_a_run_constants_alone_are_judged() -> None:
    assert Ruled(mask, measured=False).ops() == ["Mul"]
    assert Ruled(scaled_norm(300.0), measured=False).ops() == []
    case = Ruled(log_power, measured=False)
    assert case.ops() == ["Add"]
    assert "becomes zero" in next(iter(case.reasons().values()))
    for name in ("a Clip to all of FP32", "masked by Where"):
        assert Ruled(BENIGN[name], measured=False).reasons() == {}


def test_sums_inside_of_a_mean_count() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        return b.op("ReduceMean", b.op("Abs", b.op("Mul", x, b.const(4e3))), axes=[1])

    (reason,) = Ruled(build).reasons().values()
    assert "inside of ReduceMean" in reason


def outliers(b: GraphBuilder, x: str) -> str:
    return linear(b, x, 64, 64)


def test_int8_is_advised_against_where_steps_are_as_wide_as_values() -> None:
    values = np.random.default_rng(0).standard_normal((4, 4096, 64)) * 0.01
    values[0, 0, 0] = 30.0
    case = Ruled(lambda b, x: b.op("MatMul", x, b.weight(64, 64)), values.reshape(-1, 64))
    (reason,) = case.reasons(Precision.INT8).values()
    assert "times its RMS" in reason
    assert Ruled(outliers).reasons(Precision.INT8) == {}
    narrow = Ruled(lambda b, x: linear(b, x, 64, 4))
    assert "only 4 channels" in next(iter(narrow.reasons(Precision.INT8).values()))


def test_with_fp16_around_int8_hazards_are_its_own_too() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        return b.op("Tanh", b.op("Mul", linear(b, x, 64, 64), b.const(1e-4)))

    def large(b: GraphBuilder, x: str) -> str:
        return build(b, b.op("Mul", x, b.const(6e4)))

    typed = Ruled(large, granularity="group")
    half = Ruled(large, granularity="group", int8_half=True)
    assert typed.reasons(Precision.INT8) == {}
    (key,) = half.reasons(Precision.INT8)
    assert half.space.by_key[key].kind == "matmul"
    assert half.reasons(Precision.INT8)[key].startswith("INT8 excluded: ")


def test_the_uniform_engines_use_them() -> None:
    case = Ruled(scaled_norm(300.0), precisions=frozenset({Precision.FP32, Precision.FP16}))
    problem = Problem(case.space, Goal(Bound(TOL)), priors=case.priors)
    spared = case.space.uniform(Precision.FP16, without=case.reasons())
    found = uniform_assignments(problem)
    assert spared in found
    assert case.space.uniform(Precision.FP16) in found


SOURCES: list[Callable[[], onnx.ModelProto]] = [
    make for name, make in MODELS.items() if name != "custom_op"
]


@pytest.mark.parametrize("make", SOURCES)
def test_ordinary_models_are_not_denied_fp16(make: Callable[[], onnx.ModelProto]) -> None:
    graph = view(make())
    space = group(graph, SCHEME, frozenset({Precision.FP32, Precision.FP16}))
    found = screen(screening(graph), feeds_of(graph))
    assert hazards(graph, space, found, SCHEME) == ()


@settings(max_examples=15, deadline=None)
@given(st.floats(-2, 5), st.floats(-6, 3))
def test_whatever_the_scale_the_priors_make_a_norm_pass(size: float, shift: float) -> None:
    def build(b: GraphBuilder, x: str) -> str:
        moved = b.op("Add", b.op("Mul", x, b.const(10**size)), b.const(10**shift))
        return linear(b, layer_norm(b, moved, 64), 64, 64)

    case = Ruled(build)
    assert case.loss(case.reasons()) <= TOL
