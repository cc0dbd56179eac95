import math
from dataclasses import replace

from precsearch.core.space import Assignment
from precsearch.core.trial import Proposal, Trial
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.history import History
from precsearch_strategies.models.trust_region import extension, radius
from tests.strategies.landscapes import FP32, INT8, Recipe


def test_a_miss_halves_the_radius_and_a_hit_doubles_it() -> None:
    landscape = Recipe(groups=20, precisions=(FP32, INT8), tolerance=1.0, border=0.0).draw(1)
    keys = [g.key for g in landscape.space.free]
    errors = {k: (0.01 if k[0] != keys[-1] else 9.0) for k in landscape.errors}
    bound = replace(landscape.problem.goal.bound, tolerance=1.0)
    problem = replace(landscape.problem, goal=replace(landscape.problem.goal, bound=bound))
    landscape = replace(landscape, errors=errors, problem=problem)
    encoding, known = Encoding(landscape.space), History(problem)

    def build(some: list[str]) -> float:
        proposal = Proposal(Assignment.of(dict.fromkeys(some, INT8)))
        known.engines[proposal.assignment] = landscape.trial(len(known.engines), proposal)
        return radius(known, encoding)

    assert build(keys[:4]) == math.inf
    assert build(keys) == 8.0  # beyond the bound by the last group; 16 were new
    assert build(keys[:10]) == 16.0
    grown = encoding.encode(Assignment.of(dict.fromkeys(keys[:13], INT8)))
    assert extension(known, encoding, grown[None]).tolist() == [3.0]
    assert isinstance(next(iter(known.engines.values())), Trial)
