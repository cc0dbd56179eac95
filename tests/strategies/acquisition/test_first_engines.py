"""The first engines where FP16 and INT8 are both offered: which they are, and when they suffice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment, GroupTrait
from precsearch_strategies import Auto
from precsearch_strategies.uniform import tolerated, uniform_assignments
from tests.strategies.harness import Found, run
from tests.strategies.landscapes import FP16, FP32, INT8, Landscape, Recipe

BRANCHES = "INT8, both inputs of each Add quantized"
ATTENTION = "INT8, products of two activations in FP16"
HALF = "FP16 wherever no rule forbids it"
LOWEST = "INT8 wherever no rule forbids it"
HINTED = "INT8 also where a rule advises against it"
BRANCH, NARROW, CORE = "g0002", "g0003", "g0004"


def drawn(times: dict[tuple[str, Precision], float], tolerance: float = 10.0) -> Landscape:
    """Six groups, one of them an Add's other input and one an attention core.

    FP16 takes half of FP32's time and INT8 a quarter, but for what ``times`` says. A rule advises
    against INT8 at the Add's other input, as there is one for TensorRT.
    """
    made = Recipe(groups=6, border=0.0, tolerance=tolerance).draw(3)
    traits = {BRANCH: GroupTrait.ADDS_INPUT, CORE: GroupTrait.ACTIVATION_PRODUCTS}
    space = replace(
        made.space,
        groups=tuple(
            replace(g, traits=frozenset({traits[g.key]} if g.key in traits else ()))
            for g in made.space.groups
        ),
    )
    usual = {FP32: 1.0, FP16: 0.5, INT8: 0.25}
    all_times = {(g.key, p): s for g in space.groups for p, s in usual.items()}
    rule = Prior(BRANCH, INT8, avoid=True, reason="slow to build")
    problem = replace(made.problem, space=space, priors=(rule,))
    return replace(
        made, problem=problem, times=all_times | times, boundary=dict.fromkeys(space.edges, 0.0)
    )


def reasons(found: Found) -> list[str]:
    """Why the engines after FP32's were built."""
    return [t.proposal.reason for t in found.engines[1:]]


def asked(found: Found, reason: str) -> Assignment:
    (trial,) = [t for t in found.engines if t.proposal.reason == reason]
    return trial.assignment


def test_both_placements_are_built_while_each_is_faster() -> None:
    found = run(Auto(builds=12), drawn({(BRANCH, INT8): 0.1, (CORE, FP16): 0.05}))
    assert reasons(found)[:4] == [HALF, LOWEST, BRANCHES, ATTENTION]
    int8 = asked(found, LOWEST)
    assert (int8[BRANCH], int8[CORE]) == (FP16, INT8), "the rule, and nothing else"
    assert asked(found, BRANCHES) == int8.with_({BRANCH: INT8})
    assert asked(found, ATTENTION) == int8.with_({BRANCH: INT8, CORE: FP16})


def test_a_placement_that_is_slower_is_not_what_the_next_one_starts_from() -> None:
    found = run(Auto(builds=12), drawn({(BRANCH, INT8): 3.0, (CORE, FP16): 0.05}))
    assert reasons(found)[:4] == [HALF, LOWEST, BRANCHES, ATTENTION]
    assert asked(found, ATTENTION) == asked(found, LOWEST).with_({CORE: FP16})


def hinted(made: Landscape, *more: Prior) -> Landscape:
    """With a rule against INT8 at a group, as for a convolution of three channels."""
    rule = Prior(NARROW, INT8, avoid=True, reason="only 3 channels")
    priors = (*made.problem.priors, rule, *more)
    return replace(made, problem=replace(made.problem, priors=priors))


def test_a_rule_against_int8_is_put_to_the_test_and_the_rest_starts_from_what_is_faster() -> None:
    found = run(Auto(builds=12), hinted(drawn({})))
    assert reasons(found)[:4] == [HALF, LOWEST, HINTED, BRANCHES]
    int8 = asked(found, LOWEST)
    assert int8[NARROW] is FP16
    assert asked(found, HINTED) == int8.with_({NARROW: INT8})
    assert asked(found, BRANCHES) == int8.with_({NARROW: INT8, BRANCH: INT8})
    slow = run(Auto(builds=12), hinted(drawn({(NARROW, INT8): 0.9})))
    assert asked(slow, BRANCHES)[NARROW] is FP16, "the rule was right"


def test_a_hazard_of_fp16_is_no_rule_to_be_tested() -> None:
    hazard = Prior(NARROW, FP16, avoid=True, reason="overflow")
    assert HINTED not in reasons(run(Auto(builds=12), hinted(drawn({}), hazard)))


def test_placements_that_add_int8_are_not_tried_where_int8_is_beyond_the_bound() -> None:
    found = reasons(run(Auto(builds=12), hinted(drawn({}, 0.01))))
    assert found[:3] == [HALF, LOWEST, ATTENTION]
    assert not {HINTED, BRANCHES} & set(found)


def test_a_model_without_either_trait_has_no_placements() -> None:
    made = drawn({})
    plain = tuple(replace(g, traits=frozenset()) for g in made.space.groups)
    space = replace(made.space, groups=plain)
    found = run(Auto(builds=12), replace(made, problem=replace(made.problem, space=space)))
    assert reasons(found)[:2] == [HALF, LOWEST]
    assert not {BRANCHES, ATTENTION} & set(reasons(found))


def test_where_int8_is_much_slower_and_fp16_passes_two_engines_are_the_end() -> None:
    slow = {(f"g{i:04d}", INT8): 0.8 for i in range(6)}
    made = drawn(slow)
    found = run(Auto(builds=30), made)
    assert reasons(found) == [HALF, LOWEST]
    assert found.best is not None
    assert found.best.assignment == made.space.uniform(FP16)


@pytest.mark.parametrize("beyond", ["tolerance", "speed"])
def test_the_search_goes_on_if_fp16_is_beyond_the_bound_or_int8_is_faster(beyond: str) -> None:
    slow = {(f"g{i:04d}", INT8): 0.8 for i in range(6)}
    made = drawn(slow, 0.01) if beyond == "tolerance" else drawn({})
    assert len(reasons(run(Auto(builds=30), made))) > 3


def test_groups_advised_against_every_lower_precision_stay_in_fp32() -> None:
    made = drawn({})
    rules = tuple(Prior(CORE, p, avoid=True, reason="toy") for p in (FP16, INT8))
    problem = replace(made.problem, priors=rules)
    for precision in (FP16, INT8):
        found = tolerated(problem, precision)
        assert found[CORE] is FP32
        assert {found[g.key] for g in made.space.free if g.key != CORE} == {precision}
        assert found in uniform_assignments(problem)
