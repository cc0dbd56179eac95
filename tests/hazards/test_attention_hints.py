"""Precisions that take a fused attention kernel apart are left out at first, with the reason."""

from __future__ import annotations

import pytest

from precsearch.backends.onnxruntime.backend import scheme as cpu_scheme
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Prior, Problem
from precsearch.core.quantization import TYPED_HALF, QuantScheme
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.hazards import hazards
from tests.graph.attention_nets import attention_net

FP16, FP8, INT8 = Precision.FP16, Precision.FP8, Precision.INT8
ALL = frozenset(Precision)
RTX = scheme(rtx=True, attention=True)


def slow(
    graph: GraphView, chosen: QuantScheme = RTX, offered: frozenset[Precision] = ALL
) -> tuple[Prior, ...]:
    space = group(graph, chosen, offered, "group", TYPED_HALF)
    found = hazards(graph, space, None, chosen, int8_half=True, form=TYPED_HALF)
    return tuple(p for p in found if p.slow)


def test_heads_without_an_int8_kernel_are_reported() -> None:
    (prior,) = slow(attention_net(12, 64))
    assert (prior.precision, prior.avoid) == (INT8, True)
    assert prior.reason == (
        "INT8 left out at first: no INT8 attention kernel has heads of 12 (16, 32, 64), so the "
        "core is several kernels; in FP8 it is one"
    )


@pytest.mark.parametrize(
    ("tokens", "precision", "said"),
    [
        (600, INT8, "no INT8 attention kernel takes 600 tokens (at most 512)"),
        (8, FP8, "no FP8 attention kernel takes 8 tokens (at least 32)"),
    ],
)
def test_sequences_that_are_too_long_or_too_short_are_reported(
    tokens: int, precision: Precision, said: str
) -> None:
    (prior,) = slow(attention_net(32, tokens))
    assert prior.precision is precision
    assert said in prior.reason


def test_where_every_precision_has_a_kernel_nothing_is_reported() -> None:
    assert slow(attention_net(32, 64)) == ()


def test_without_a_fused_precision_there_is_no_hint() -> None:
    graph = attention_net(12, 8)
    assert slow(graph, offered=frozenset({Precision.FP32, INT8})) == ()
    assert {p.precision for p in slow(graph)} == {FP8, INT8}


def test_an_engine_that_lists_no_kernels_gives_no_hints() -> None:
    assert slow(attention_net(12, 64), cpu_scheme()) == ()
    assert slow(attention_net(12, 64), scheme()) == ()


def test_tensorrt_itself_has_the_sizes_of_its_documentation() -> None:
    chosen = scheme(attention=True)
    offered = frozenset({Precision.FP32, FP16, INT8})
    (prior,) = slow(attention_net(80, 64), chosen, offered)
    assert "in FP16 it is one" in prior.reason
    assert slow(attention_net(12, 64), chosen, offered) == ()  # FP16 has none either


def test_a_search_starts_without_the_slow_precision() -> None:
    graph = attention_net(12, 64)
    space = group(graph, RTX, frozenset({Precision.FP32, FP16, INT8}), "group", TYPED_HALF)
    priors = hazards(graph, space, None, RTX, int8_half=True, form=TYPED_HALF)
    problem = Problem(space, Goal(Bound(1e-2)), priors=priors)
    (core,) = (g.key for g in space.groups if g.kind == "attention")
    assert problem.slow == {(core, INT8)}
    assert core in problem.avoided(INT8)
