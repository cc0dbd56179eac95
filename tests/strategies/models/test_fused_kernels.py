"""The latency model knows which choices lose a fused kernel, until an engine shows otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.models.latency import LatencyModel
from precsearch_strategies.models.profile_gains import profile_gains
from precsearch_strategies.uniform import tolerated
from tests.strategies.landscapes import FP16, INT8, Landscape, Recipe
from tests.strategies.models.test_models import engines


def with_priors(made: Landscape, *priors: Prior) -> Landscape:
    return replace(made, problem=replace(made.problem, priors=priors))


def test_a_choice_that_loses_a_fused_kernel_is_expected_to_gain_nothing() -> None:
    plain = Recipe(groups=6, border=0.0).draw(3)
    first = plain.space.free[0].key
    made = with_priors(plain, Prior(first, INT8, True, "INT8 left out at first", True))
    known = engines(made, [Assignment(), made.space.uniform(FP16)])
    gains = profile_gains(known, Encoding(made.space))
    assert gains[0, 2] == 0
    assert (gains[1:, 2] > 0).all()
    assert (
        gains[0, 1]
        == profile_gains(
            engines(plain, [Assignment(), plain.space.uniform(FP16)]), Encoding(plain.space)
        )[0, 1]
    )
    model = LatencyModel.fit(known, Encoding(made.space))
    mixed = made.space.uniform(INT8).with_({first: FP16})
    labels = [Encoding(made.space).encode(a) for a in (made.space.uniform(INT8), mixed)]
    (whole, apart), _ = model.predict(np.array(labels))
    assert apart < whole
    assert tolerated(made.problem, INT8)[first] is FP16


def test_an_engine_overrules_the_rule() -> None:
    plain = Recipe(groups=6, border=0.0).draw(3)
    first = plain.space.free[0].key
    made = with_priors(plain, Prior(first, INT8, True, "INT8 left out at first", True))
    shown = [Assignment(), made.space.uniform(INT8)]
    np.testing.assert_array_equal(
        profile_gains(engines(made, shown), Encoding(made.space)),
        profile_gains(engines(plain, shown), Encoding(plain.space)),
    )


def test_a_border_within_a_fused_kernel_costs_more_than_one_elsewhere() -> None:
    plain = Recipe(groups=6, border=0.0).draw(3)
    keys = [g.key for g in plain.space.free]
    space = replace(plain.space, fused=(frozenset(keys[:2]),))
    made = replace(plain, problem=replace(plain.problem, space=space))
    encoding = Encoding(space)
    (edge,) = np.flatnonzero(encoding.fused)
    assert {keys[i] for i in encoding.edges[edge]} == set(keys[:2])
    known = engines(made, [Assignment(), space.uniform(FP16)])
    model = LatencyModel.fit(known, encoding)
    before = LatencyModel.fit(
        engines(plain, [Assignment(), plain.space.uniform(FP16)]), Encoding(plain.space)
    )
    apart = Assignment.of({keys[0]: Precision.FP16})
    labels = encoding.encode(apart)[None]
    assert model.predict(labels)[0][0] > before.predict(labels)[0][0] + 1e-3
    _, pair = model.costs(model.mean())
    _, usual = before.costs(before.mean())
    assert pair[edge, 0, 1] > usual[edge, 0, 1]
