"""Several sets of input shapes in one search: what is timed for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from precsearch.backend import Feed
from precsearch.criteria import Criteria
from precsearch.data import InputSpec, load
from precsearch.errors import DataError, OptionError
from precsearch.measure import Load

__all__ = [
    "ShapeSet",
    "ShapeTable",
    "in_terms_of_sets",
    "shape_loads",
    "shape_sets",
    "shape_table",
    "shapes_of",
]

_MOST_SHAPES = 4

ShapeTable = tuple[Mapping[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class ShapeSet:
    """Input shapes that the engine will see together.

    Attributes:
        shapes: Input name → shape; inputs that leave nothing open need none.
        weight: How much their latency counts, relative to the other sets.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise OptionError(f"the weight of --shapes must be above 0, not {self.weight:g}")

    def __str__(self) -> str:
        parts = (f"{name}:{'x'.join(map(str, shape))}" for name, shape in self.shapes.items())
        return f"{';'.join(parts)}@{self.weight:g}"


def shapes_of(feed: Feed) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Name and shape of each input, sorted."""
    return tuple((name, tuple(array.shape)) for name, array in sorted(feed.items()))


def shape_table(feeds: Iterable[Feed]) -> ShapeTable:
    """The sets of input shapes among feeds, in their order.

    Where there are many, the first and, dimension by dimension, the least and the greatest.
    """
    found = [dict(rows) for rows in dict.fromkeys(map(shapes_of, feeds))]
    if len(found) <= _MOST_SHAPES:
        return tuple(found)

    def extreme(pick: Callable[..., int]) -> dict[str, tuple[int, ...]]:
        return {name: tuple(map(pick, *(shapes[name] for shapes in found))) for name in found[0]}

    return (found[0], extreme(min), extreme(max))


@contextmanager
def in_terms_of_sets() -> Iterator[None]:
    """Name the option that the user gave in what is raised inside."""
    try:
        yield
    except OptionError as error:
        raise OptionError(str(error).replace("--input-shape", "--shapes")) from error


def shape_loads(
    sets: Sequence[ShapeSet],
    first: Load,
    data: Path | None,
    specs: Sequence[InputSpec],
    seed: int,
) -> tuple[tuple[Load, ...], tuple[str, ...]]:
    """What is timed: for each set some feeds of its shapes.

    Args:
        sets: As the user gave them.
        first: What is timed of the first one, whose shapes the samples of the search have.
        data: The user's data, cut anew at the shapes of each other set.
        specs: The model's inputs.
        seed: Of random numbers.

    Returns:
        The loads, and a note for each set that the data cannot be cut for: it is timed on random
        numbers.

    Raises:
        OptionError: Shapes contradict the model or each other.
    """
    loads, notes = [], []
    for number, one in enumerate(sets):
        if number == 0:
            loads.append(Load(first.feeds, one.weight, first.samples))
            continue
        try:
            found = load(data, specs, shapes=one.shapes, seed=seed)
        except DataError:
            found = load(None, specs, shapes=one.shapes, seed=seed)
            notes.append(f"--data cannot be cut for {one}, which is timed on random numbers")
        loads.append(Load.spread(found.feeds, found.sizes[0], one.weight))
    return tuple(loads), tuple(notes)


def shape_sets(criteria: Criteria) -> tuple[ShapeSet, ...]:
    """The sets that a plan is timed for, none if it is just one."""
    return tuple(ShapeSet(s.shapes, s.weight) for s in criteria.shapes)
