"""Time that groups save, with and without profiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, GroupTrait, LayerGroup
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.models.profile_gains import has_profiles, profile_gains, promising
from tests.strategies.landscapes import INT8, Landscape, Recipe
from tests.strategies.models.test_models import engines


class Silent(Landscape):
    """One whose engines tell no profile."""

    def profile(self, a: Assignment) -> dict[str, float]:
        return {}


def silent(made: Landscape, *macs: int) -> Silent:
    groups = tuple(
        LayerGroup(g.key, g.kind, g.nodes, g.choices, macs=m)
        for g, m in zip(made.space.groups, macs, strict=True)
    )

    space = replace(made.space, groups=groups)
    problem = replace(made.problem, space=space)
    return Silent(problem, made.errors, made.times, made.boundary)


@pytest.mark.parametrize(
    ("macs", "shares"),
    [((0, 0, 0, 0), (1, 1, 1, 1)), ((10, 10, 0, 20), (10.2, 10.2, 0.2, 20.2))],
)
def test_without_profiles_what_was_measured_is_shared_by_the_operations(
    macs: tuple[int, ...], shares: tuple[float, ...]
) -> None:
    landscape = silent(Recipe(groups=4, border=0.0).draw(2), *macs)
    lowered = landscape.space.uniform(INT8)
    known = engines(landscape, [Assignment(), lowered])
    assert not has_profiles(known)
    gains = profile_gains(known, Encoding(landscape.space))
    saved = 1 - landscape.seconds(lowered) / landscape.full
    np.testing.assert_allclose(gains[:, 2], saved * np.array(shares) / sum(shares))
    assert np.array_equal(gains[:, 0], np.zeros(4))


def test_the_fastest_engine_represents_slower_ones_with_the_same_gains() -> None:
    landscape = Recipe(groups=6, border=0.0).draw(4)
    whole = landscape.space.uniform(INT8)
    part = Assignment.of({g.key: INT8 for g in landscape.space.free[:2]})
    encoding = Encoding(landscape.space)
    once = engines(landscape, [Assignment(), whole])
    twice = engines(landscape, [Assignment(), part, whole])
    assert has_profiles(once)
    np.testing.assert_array_equal(profile_gains(once, encoding), profile_gains(twice, encoding))
    alone = profile_gains(engines(landscape, [Assignment(), part]), encoding)
    assert not np.array_equal(alone[2:, 2], profile_gains(once, encoding)[2:, 2])


@pytest.mark.parametrize(("lowered", "counts"), [(1, True), (8, False)])
def test_a_few_groups_that_were_slower_do_not_rule_a_precision_out(
    lowered: int, counts: bool
) -> None:
    """As where INT8 everywhere fails to build, and only small sets of groups ran in INT8."""
    landscape = Recipe(groups=8, border=0.0).draw(4)
    for group in landscape.space.free:
        fp32 = landscape.times[group.key, Precision.FP32]
        landscape.times[group.key, Precision.FP16] = 0.5 * fp32
        landscape.times[group.key, INT8] = 0.9 * fp32
        landscape.errors[group.key, Precision.FP16] = 0.0
    half = landscape.space.uniform(Precision.FP16)
    few = half.with_({g.key: INT8 for g in landscape.space.free[:lowered]})
    known, encoding = engines(landscape, [Assignment(), half, few]), Encoding(landscape.space)
    assert known.passing()[0].assignment == half
    assert bool(promising(known, encoding)[:, 2].any()) is counts


@pytest.mark.parametrize(("places", "counts"), [(1, False), (2, True)])
def test_mixtures_of_places_that_no_profile_shows_are_not_taken_for_tried(
    places: int, counts: bool
) -> None:
    """Two engines show one place whole; of two places there are two more to be built."""
    made = Recipe(groups=6, border=0.0).draw(4)
    inputs = {g.key for g in made.space.groups[:places]}
    traits = frozenset({GroupTrait.ADDS_INPUT})
    groups = tuple(replace(g, traits=traits) if g.key in inputs else g for g in made.space.groups)
    space = replace(made.space, groups=groups)
    landscape = replace(made, problem=replace(made.problem, space=space))
    for group in space.free:
        full = 0.0 if group.key in inputs else landscape.times[group.key, Precision.FP32]
        for share, precision in ((1.0, Precision.FP32), (0.5, Precision.FP16), (0.25, INT8)):
            landscape.times[group.key, precision] = share * full
            landscape.errors[group.key, precision] = 0.0
    whole = space.uniform(INT8)
    half, without = (
        space.uniform(Precision.FP16),
        whole.with_(dict.fromkeys(inputs, Precision.FP32)),
    )
    known, encoding = engines(landscape, [Assignment(), half, without, whole]), Encoding(space)
    assert bool(promising(known, encoding).any()) is counts
