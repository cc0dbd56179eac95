import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Encoding
from tests.strategies.landscapes import Recipe


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_the_encoding_uses_the_canonical_rule_of_the_space(seed: int, data: st.DataObject) -> None:
    space = Recipe(groups=9, passive=0.5, skip=0.3, fixed_neighbours=0.1).draw(seed).space
    encoding = Encoding(space)
    asked = {g.key: data.draw(st.sampled_from(g.choices)) for g in space.free}
    raw = encoding.encode(Assignment.of(asked))
    canonical = space.canonical(Assignment.of(asked))
    assert encoding.decode(raw) == canonical
    assert np.array_equal(encoding.canonical(raw[None])[0], encoding.encode(canonical))
    assert encoding.decode(encoding.encode(canonical)) == canonical


def test_undecidable_neighbours_are_fixed_neighbours() -> None:
    space = Recipe(groups=12, fixed_neighbours=0.4).draw(3).space
    encoding = Encoding(space)
    free = {g.key for g in space.free}
    for group, fixed_neighbours in zip(space.free, encoding.fixed_neighbours.tolist(), strict=True):
        assert fixed_neighbours == len(space.neighbours[group.key] - free)
    assert len(encoding.allowed) == len(free) == len(encoding.adjacent)


def test_a_space_without_choices_is_empty() -> None:
    encoding = Encoding(Recipe(groups=3, fixed_neighbours=1.1).draw(0).space)
    assert encoding.size == (0, 1)
    assert encoding.decode(np.zeros(0, dtype=np.intp)) == Assignment()
