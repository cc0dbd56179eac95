"""A residual Add in a proxy: its INT8 depends on its branch and on its convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.grouping.group import group
from tests.emulation.by_hand import Arrays
from tests.emulation.written import DECIDED, Written, noise_for, written
from tests.graph.small_graphs import residual_net, view

FP32, INT8 = Precision.FP32, Precision.INT8


def residual() -> tuple[Written, SearchSpace, Arrays]:
    """A net of residual blocks as TensorRT quantizes it, and a feed."""
    graph = view(residual_net())
    space, feed = group(graph, DECIDED, frozenset({FP32, INT8})), noise_for(graph)
    return written(graph, space, [feed], DECIDED), space, feed


def test_the_branch_of_a_residual_add_is_quantized_only_if_asked() -> None:
    on, space, feed = residual()
    branch = next(g for g in space.groups if not g.nodes)
    outputs: list[Any] = []
    for assignment in (space.uniform(INT8), space.uniform(INT8).with_({branch.key: FP32})):
        (found,), (wanted,) = on.run(assignment, [feed]), on.run_lowered(assignment, [feed])
        outputs.append(found[on.names[0]])
        np.testing.assert_allclose(outputs[-1], wanted[on.names[0]], rtol=1e-3, atol=1e-4)
    first, second = outputs
    assert not np.array_equal(first, second)


def test_a_shortcut_is_quantized_only_beside_an_int8_convolution() -> None:
    on, space, feed = residual()
    adds = [g.key for g in space.free if g.kind in ("add", "add-branch")]
    convolutions = [g.key for g in space.free if g.kind == "conv"]
    assert adds
    alone = space.canonical(Assignment.of(dict.fromkeys(adds, INT8)))
    without = [space.uniform(INT8).with_({key: FP32}) for key in convolutions]
    output = on.names[0]
    for assignment in (alone, *map(space.canonical, without)):
        (wanted,) = on.run_lowered(assignment, [feed])
        for (found,) in (on.run(assignment, [feed]), on.run_alone(assignment, [feed])):
            np.testing.assert_allclose(found[output], wanted[output], rtol=1e-3, atol=1e-4)
    (plain,), (untouched,) = on.run_lowered(Assignment(), [feed]), on.run(alone, [feed])
    np.testing.assert_allclose(untouched[output], plain[output], rtol=1e-6, atol=1e-7)
