"""Random small models, each with a random assignment and random ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, islice

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks.typed.builds import Shapes
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.lowering.random_models import Model, conv_models, feed_of, matmul_models
from tests.lowering.test_random_models import prepared

_BATCH = 100


def random_pairs(
    wanted: int, precisions: Sequence[Precision]
) -> Iterator[tuple[Callable[[], Lowered], list[Shapes]]]:
    """What lowers each pair, and the shapes to build for; the same ones every time."""
    yield from islice(_pairs(precisions), wanted)


def _pairs(precisions: Sequence[Precision]) -> Iterator[tuple[Callable[[], Lowered], list[Shapes]]]:
    for number in count(0):
        rng = np.random.default_rng(number)
        for model in _models(number):
            shape = feed_of(model)["x"].shape
            shapes: list[Shapes] = [{"x": (n, *shape[1:])} for n in (1, 2, 4)]
            yield partial(_lowered, model, int(rng.integers(1 << 31)), precisions), shapes


def _models(number: int) -> list[Model]:
    drawn: list[Model] = []

    @seed(number)
    @settings(
        max_examples=_BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(conv_models(), matmul_models()))
    def draw(model: Model) -> None:
        drawn.append(model)

    draw()
    return drawn


def _lowered(model: Model, number: int, precisions: Sequence[Precision]) -> Lowered:
    rng = np.random.default_rng(number)
    graph, chosen = prepared(model, TYPED_HALF.min_opset), scheme(rtx=True, attention=True)
    granularity = ("node", "group", "block")[rng.integers(3)]
    space = group(graph, chosen, frozenset(precisions), granularity)
    tensors = sorted(frozenset().union(*quantizable(graph, chosen, space).values()))
    one = float(rng.choice([5.0, 6e4, 1e-4]))
    same = bool(rng.integers(2))
    peaks = {t: one if same else float(10 ** rng.uniform(-6, 5)) for t in tensors}
    scales = RangeScales({t: TensorRange(-p, p) for t, p in peaks.items()}, chosen)
    asked = {g.key: g.choices[rng.integers(len(g.choices))] for g in space.free}
    assignment = space.canonical(Assignment.of(asked))
    return Lowering(graph, space, chosen, scales, TYPED_HALF).lower(assignment)
