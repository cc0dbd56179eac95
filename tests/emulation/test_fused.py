"""What one kernel computes is rounded once, where it is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from precsearch.core.backend import TYPED, GraphForm
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from tests.emulation.by_hand import SCHEME, rounded
from tests.emulation.written import written
from tests.graph.small_layers import GraphBuilder, layer_norm, linear, view

BF16, FP32 = Precision.BF16, Precision.FP32
FORM = GraphForm("kernels", 22, one_kernel={"matmul": frozenset(), "layernorm": frozenset({"Div"})})


def near(values: np.ndarray) -> np.ndarray:
    return rounded(values, BF16.spec.format)


def run(graph: GraphView, feed: dict[str, np.ndarray], form: GraphForm) -> np.ndarray:
    space = group(graph, SCHEME, frozenset({FP32, BF16}), "group", form)
    (found,) = written(graph, space, form=form).run(space.uniform(BF16), [feed])
    (value,) = found.values()
    return np.asarray(value)


def dense() -> tuple[GraphView, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    b = GraphBuilder(opset=22)
    b.output(b.op("Transpose", linear(b, b.input([4, 16]), 16, 8), perm=[1, 0]))
    graph = view(b.model())
    weight, bias = (np.asarray(w.array) for w in graph.weights.values())
    x = np.random.default_rng(7).standard_normal((4, 16)).astype(np.float32)
    return graph, {"in0": x}, weight, bias


def test_a_product_with_its_bias_is_rounded_once_and_layout_nodes_do_not_round_again() -> None:
    graph, feed, weight, bias = dense()
    product = near(feed["in0"]) @ near(weight)
    once, twice = near(product + near(bias)).T, near(near(product) + near(bias)).T
    assert (once != twice).any()
    np.testing.assert_array_equal(run(graph, feed, FORM), once)
    np.testing.assert_array_equal(run(graph, feed, replace(TYPED, min_opset=22)), twice)


def test_a_norm_is_rounded_where_its_kernel_stores_the_normalized_value_and_at_its_end() -> None:
    b = GraphBuilder(opset=22)
    b.output(layer_norm(b, b.input([6, 32]), 32))
    graph = view(b.model())
    x = np.random.default_rng(8).standard_normal((6, 32)).astype(np.float32)
    last = next(n for n in graph.nodes if n.outputs[0] in graph.output_names)
    scaling = graph.producer[next(t for t in last.inputs if t in graph.producer)]
    shift = next(t for t in last.inputs if t in graph.weights)
    scale = next(t for t in scaling.inputs if t in graph.weights)
    stored = near(x)
    centred = stored - stored.mean(1, keepdims=True)
    normalized = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    wanted = near(normalized) * near(np.asarray(graph.weights[scale].array))
    wanted = near(wanted + near(np.asarray(graph.weights[shift].array)))
    found = run(graph, {"in0": x}, FORM)
    # A last bit of the mean can move a value over a tie.
    assert np.mean(found != wanted) < 0.02
    assert np.mean(run(graph, {"in0": x}, replace(TYPED, min_opset=22)) != wanted) > 0.1


def test_a_norm_in_a_form_that_the_kernel_does_not_compute_is_rounded_at_each_step() -> None:
    b = GraphBuilder(opset=22)
    b.output(layer_norm(b, b.input([6, 32]), 32, "rsqrt"))
    graph = view(b.model())
    feed = {"in0": np.random.default_rng(8).standard_normal((6, 32)).astype(np.float32)}
    np.testing.assert_array_equal(
        run(graph, feed, FORM), run(graph, feed, replace(TYPED, min_opset=22))
    )


@pytest.mark.parametrize("form", [FORM, TYPED])
def test_a_group_in_fp32_is_not_rounded(form: GraphForm) -> None:
    graph, feed, weight, bias = dense()
    space = group(graph, SCHEME, frozenset({FP32, BF16}), "group", FORM)
    (found,) = written(graph, space, form=form).run(Assignment(), [feed])
    (value,) = found.values()
    np.testing.assert_allclose(value, (feed["in0"] @ weight + bias).T, rtol=1e-5)
