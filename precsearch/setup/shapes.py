"""Input shapes: which feeds are timed, and on which further ones engines are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from precsearch.core.backend import Feed
from precsearch.core.errors import DataError, OptionError
from precsearch.data import Dataset, InputSpec, load, rebatched, resolve
from precsearch.measurement.timing.latency import Load
from precsearch.plan.criteria import Criteria
from precsearch.system.printable import first_of

__all__ = [
    "SetData",
    "ShapeSet",
    "ShapeTable",
    "Timed",
    "in_terms_of_sets",
    "open_data",
    "set_data",
    "shape_sets",
    "shape_table",
    "shapes_of",
    "timed_again",
    "timed_feeds",
    "timed_sets",
]

_MOST_SHAPES = 4
_MOST_FEEDS = 8
"""Of each further set of shapes: a batch may be many samples."""
_MOST_NAMED = 3

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

    @property
    def name(self) -> str:
        """The shapes alone, as the user writes them."""
        return ";".join(f"{name}:{_times(shape)}" for name, shape in self.shapes.items())

    def __str__(self) -> str:
        return f"{self.name}@{self.weight:g}"


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def shapes_of(feed: Feed) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Name and shape of each input, sorted."""
    return tuple((name, tuple(array.shape)) for name, array in sorted(feed.items()))


def shape_table(feeds: Iterable[Feed]) -> ShapeTable:
    """The sets of input shapes among feeds, in their order.

    Where there are many, the first and, dimension by dimension, the least and the greatest.
    """
    tables = [dict(rows) for rows in dict.fromkeys(map(shapes_of, feeds))]
    if len(tables) <= _MOST_SHAPES:
        return tuple(tables)

    def extreme(pick: Callable[..., int]) -> dict[str, tuple[int, ...]]:
        return {name: tuple(map(pick, *(shapes[name] for shapes in tables))) for name in tables[0]}

    return (tables[0], extreme(min), extreme(max))


@contextmanager
def in_terms_of_sets() -> Iterator[None]:
    """Name the option that the user gave in what is raised inside."""
    try:
        yield
    except OptionError as error:
        raise OptionError(str(error).replace("--input-shape", "--shapes")) from error


@dataclass(frozen=True)
class SetData:
    """What there is to time and to score at one set of input shapes.

    Attributes:
        name: The shapes in words.
        data: Feeds of these shapes, a few.
        judged: Whether engines are scored on them, beside the samples of the search.
    """

    name: str
    data: Dataset
    judged: bool


@dataclass(frozen=True)
class Timed:
    """What is timed.

    Attributes:
        loads: The feeds, for each set of shapes.
        notes: What the user should know of them.
    """

    loads: tuple[Load, ...]
    notes: tuple[str, ...] = ()


def open_data(
    path: Path | None,
    specs: Sequence[InputSpec],
    *,
    batch: int,
    shapes: Mapping[str, tuple[int, ...]],
    seed: int,
    outputs: Sequence[str],
    preprocess: str = "",
) -> Dataset:
    """The user's data. Shapes cut it, or choose among its feeds where these differ in shape.

    Raises:
        DataError: The data cannot be read, or has no feed of these shapes.
        OptionError: Batch or shapes contradict the model, each other or the data.
    """
    load_at = partial(
        load, path, specs, batch=batch, seed=seed, outputs=outputs, preprocess=preprocess
    )
    try:
        return load_at(shapes=shapes)
    except DataError:
        if not shapes or path is None:
            raise
        with suppress(DataError):
            dataset = load_at(shapes={})
            if _fitting(dataset, resolve(specs, shapes)):
                return dataset
        raise


def _fitting(data: Dataset, resolved: Sequence[InputSpec]) -> list[int]:
    """Positions of the feeds that have these shapes."""
    return [i for i, f in enumerate(data.feeds) if all(s.fits(f[s.name].shape) for s in resolved)]


def set_data(
    one: ShapeSet, part: Dataset, specs: Sequence[InputSpec], seed: int
) -> tuple[SetData, bool]:
    """Feeds for one set of shapes, and whether they are the data's own.

    Feeds of these shapes, if the part has some: engines are scored on those anyway. Else its
    samples in batches of another size. Else random numbers.

    Raises:
        OptionError: The shapes contradict the model or each other.
    """
    resolved = resolve(specs, one.shapes)
    own = _fitting(part, resolved)
    if own:
        return SetData(one.name, part.take(_spread(own)), judged=False), True
    cut = rebatched(part, resolved, _MOST_FEEDS)
    if cut is not None:
        return SetData(one.name, cut, judged=True), True
    data = load(None, specs, shapes=one.shapes, seed=seed)
    kept = data.take(_spread(range(len(data))))
    return SetData(one.name, replace(kept, random=True), judged=part.random), part.random


def _spread(positions: Sequence[int]) -> Sequence[int]:
    return positions[:: max(1, len(positions) // _MOST_FEEDS)][:_MOST_FEEDS]


def timed_sets(
    sets: Sequence[ShapeSet], part: Dataset, specs: Sequence[InputSpec], seed: int
) -> Timed:
    """What is timed: for each set some feeds of its shapes, with its weight.

    Raises:
        OptionError: Shapes contradict the model or each other.
    """
    loads, notes = [], []
    for one in sets:
        data, ours = set_data(one, part, specs, seed)
        loads.append(Load.spread(data.data.feeds, data.data.sizes[0], one.weight))
        if not ours:
            notes.append(
                f"--data has nothing for {one}: it is timed on random numbers, and accuracy is not "
                "judged there"
            )
    return Timed(tuple(loads), tuple(notes))


def timed_feeds(
    part: Dataset, specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]
) -> Timed:
    """What is timed where no sets were named: the feeds of one shape.

    Of those that have the given shapes, the most frequent; of equally frequent ones the middle one
    by size.
    """
    fitting = _fitting(part, resolve(specs, shapes)) or range(len(part))
    kinds: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for i in fitting:
        kinds.setdefault(shapes_of(part.feeds[i]), []).append(i)
    most = max(map(len, kinds.values()))
    frequent = sorted(
        (sum(math.prod(shape) for _, shape in kind), kind)
        for kind, positions in kinds.items()
        if len(positions) == most
    )
    chosen = frequent[len(frequent) // 2][1]
    own = part.take(kinds[chosen])
    load_of = Load.spread(own.feeds, own.sizes[0])
    every = len(set(map(shapes_of, part.feeds)))
    if every == 1:
        return Timed((load_of,))
    named = [(spec.name, own.feeds[0][spec.name].shape) for spec in specs]
    text = first_of([f"{name}:{_times(shape)}" for name, shape in named], _MOST_NAMED)
    return Timed(
        (load_of,),
        (
            f"the feeds have {every} different shapes; timed is {text}, as in {len(own)} of "
            f"{len(part)} feeds (--shapes names others)",
        ),
    )


def timed_again(
    data: Dataset, specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]]
) -> Timed:
    """What is timed of a plan, so that its latency is told at the shapes it was searched at.

    Args:
        data: All samples.
        specs: The model's inputs.
        shapes: Those that the plan was timed at; none if it does not tell.

    Returns:
        Feeds of these shapes if there are some, else those of `timed_feeds`.
    """
    sizes = tuple(sorted(shapes.items()))
    own = [i for i, feed in enumerate(data.feeds) if shapes_of(feed) == sizes]
    return timed_feeds(data.take(own) if own else data, specs, {})


def shape_sets(criteria: Criteria) -> tuple[ShapeSet, ...]:
    """The sets that a plan is timed for, none if it is just one."""
    return tuple(ShapeSet(s.shapes, s.weight) for s in criteria.shapes)
