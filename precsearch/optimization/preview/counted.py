"""How much of a model's work a search can decide, and the reasons for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from precsearch.core.precision import Precision
from precsearch.core.space import SearchSpace
from precsearch.graph.view import GraphView
from precsearch.graph.work import Work, is_layer, one_sample, sized, total_work
from precsearch.grouping.repeats import fixed_batch
from precsearch.grouping.undecided import Hidden, Undecided, hidden_layers, undecided

if TYPE_CHECKING:
    from precsearch.core.backend import Feed
    from precsearch.data import Dataset
    from precsearch.setup.inputs import Inputs
    from precsearch.setup.target import Target

__all__ = ["Counted", "counted", "counted_for", "with_work"]


@dataclass(frozen=True)
class Counted:
    """The work of one sample.

    Attributes:
        graph: The prepared model, with the shapes that were counted with.
        space: The groups, with their work.
        total: Of all layers of the main graph.
        decidable: Of those in groups with more than one choice.
        open_groups: Keys of the groups whose work is a lower bound: a size is open.
        undecided: The layers without a choice, with the reason.
        hidden: Nodes that layers are inside of.
        batch: Name of the open dimension that was counted as 1, "" if there is none.
        shapes: How many different shapes of inputs the data has; the first was counted. 0: no data.
    """

    graph: GraphView = field(repr=False)
    space: SearchSpace = field(repr=False)
    total: Work
    decidable: Work
    open_groups: frozenset[str]
    undecided: tuple[Undecided, ...]
    hidden: tuple[Hidden, ...]
    batch: str = ""
    shapes: int = 0


def counted(target: Target, offered: Iterable[Precision]) -> Counted:
    """The work of one sample by what the model declares.

    Args:
        target: Model and backend.
        offered: What groups could have been given.
    """
    shapes, batch = one_sample(target.graph)
    graph = target.graph
    if shapes and any(map(is_layer, graph.nodes)):
        graph = sized(graph, shapes)
    return replace(_counted(target, graph, fixed_batch(graph), offered), batch=batch)


def counted_for(target: Target, data: Dataset, offered: Iterable[Precision]) -> Counted:
    """The work of one sample in the shapes of the first feed; otherwise as `counted`."""
    return _of_feeds(target, data.feeds, data.sizes[0], offered)


def with_work(target: Target, inputs: Inputs) -> Target:
    """The target with the work of its groups counted in the shapes of the data.

    A search knows by it which groups are large. Nothing else depends on it.
    """
    part = inputs.parts.search
    return replace(target, space=_of_feeds(target, part.feeds, part.sizes[0], ()).space)


def _of_feeds(
    target: Target, feeds: Sequence[Feed], samples: int, offered: Iterable[Precision]
) -> Counted:
    graph = target.graph
    if any(map(is_layer, graph.nodes)):
        graph = sized(graph, {name: array.shape for name, array in feeds[0].items()})
    shapes = {tuple(sorted((k, v.shape) for k, v in f.items())) for f in feeds}
    return replace(_counted(target, graph, samples, offered), shapes=len(shapes))


def _counted(
    target: Target, graph: GraphView, samples: int, offered: Iterable[Precision]
) -> Counted:
    works = {
        g.key: total_work((graph.by_key[k] for k in g.nodes), graph) for g in target.space.groups
    }
    each = {key: work.per(samples).macs for key, work in works.items()}
    space = replace(
        target.space,
        groups=tuple(
            g if g.macs == each[g.key] else replace(g, macs=each[g.key])
            for g in target.space.groups
        ),
    )
    free = {g.key for g in space.free}
    left = undecided(graph, space, target.scheme, offered)
    return Counted(
        graph=graph,
        space=space,
        total=sum(works.values(), Work()).per(samples),
        decidable=sum((w for k, w in works.items() if k in free), Work()).per(samples),
        open_groups=frozenset(k for k, w in works.items() if not w.exact),
        undecided=_as_settled((replace(u, work=u.work.per(samples)) for u in left), target),
        hidden=hidden_layers(graph),
    )


def _as_settled(layers: Iterable[Undecided], target: Target) -> tuple[Undecided, ...]:
    """Layers that would have a choice, had the user not settled it, have none for that reason."""
    reasons = {
        n: target.kept[g.key] for g in target.space.groups if g.key in target.kept for n in g.nodes
    }
    return tuple(replace(u, reason=reasons.get(u.node, u.reason)) for u in layers)
