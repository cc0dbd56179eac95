"""One decision for all groups that look alike: repeated blocks as if they were one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from precsearch_strategies.encoding import Encoding, Floats, Labels
from precsearch_strategies.solvers.knapsack import Costs

__all__ = ["alike", "shared"]


def alike(encoding: Encoding, positions: Iterable[int]) -> list[tuple[int, ...]]:
    """Positions by what their groups look like (kind, signature), in order of the first."""
    classes: dict[tuple[str, str, bool], list[int]] = {}
    for i in positions:
        group = encoding.space.free[i]
        classes.setdefault((group.kind, group.signature, group.passive), []).append(int(i))
    return [tuple(row) for row in classes.values()]


def shared(costs: Costs, classes: Labels) -> Costs:
    """The costs of a decision a class: every assignment costs what its spread over groups does.

    Args:
        costs: Of n groups.
        classes: (n,) class of each group, from 0.

    Returns:
        The costs of as many variables as there are classes. A label is allowed where it is for all
        of a class.
    """
    count, p = int(classes.max(initial=-1)) + 1, costs.time.shape[1]
    time, squared_usage = np.zeros((count, p)), np.zeros((count, p))
    allowed = np.ones((count, p), dtype=bool)
    np.add.at(time, classes, costs.time)
    np.add.at(squared_usage, classes, costs.squared_usage)
    np.logical_and.at(allowed, classes, costs.allowed)
    ends = classes[costs.edges].reshape(-1, 2)
    inner = ends[:, 0] == ends[:, 1]
    np.add.at(time, ends[inner, 0], np.diagonal(costs.pair[inner], axis1=1, axis2=2))
    edges, pair = _between(ends[~inner], costs.pair[~inner], count)
    return Costs(time, edges, pair, squared_usage, allowed)


def _between(ends: Labels, pair: Floats, count: int) -> tuple[Labels, Floats]:
    """Parallel edges of classes as one, from the lower to the higher."""
    turned = ends[:, 0] > ends[:, 1]
    pair = np.where(turned[:, None, None], pair.transpose(0, 2, 1), pair)
    ends = np.sort(ends, axis=1)
    codes, where = np.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True)
    total = np.zeros((len(codes), *pair.shape[1:]))
    np.add.at(total, where.reshape(-1), pair)
    edges = np.stack([codes // max(count, 1), codes % max(count, 1)], axis=1)
    return np.asarray(edges, dtype=np.intp), total
