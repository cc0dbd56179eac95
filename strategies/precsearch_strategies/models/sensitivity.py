"""What each group costs in accuracy when it alone is lowered."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.history import History, Subroutine

__all__ = ["context", "single_squared_usage"]


def single_squared_usage(
    known: History, encoding: Encoding, wanted: Bools | None = None
) -> Subroutine[Floats]:
    """Measure, at proxy fidelity, the squared usage that each group adds at each precision.

    Errors of single groups add in squares to a good approximation (measured over predicted 0.65 to
    1.16 on our ONNX Runtime fixtures), as for independent noise sources in fixed-point design
    (Widrow & Kollar, *Quantization Noise*, 2008). A passive group has no effect alone: it is
    lowered together with the shortest path to a group that computes in INT8, whose own squares
    are subtracted.

    Args:
        known: The trials.
        encoding: Of their assignments.
        wanted: (n, p) which choices to measure, all by default; the others are left ``inf``.

    Returns:
        (n, p): squared usage (1 is all of the bound), 0 for FP32, ``inf`` where the group does not
        offer the precision or where the output was not finite. Where a proxy failed, the median of
        the other groups; if most failed, equal shares of a uniform engine's error.
    """
    n, p = encoding.size
    squared_usage = np.full((n, p), math.inf)
    squared_usage[:, 0] = 0.0
    rows = _contexts(encoding, wanted)
    trials = yield from known.probe([a for *_, a, _ in rows], "one group lowered alone")
    base = (known.usage(known.engines.get(Assignment())) or 0.0) ** 2
    failed = []
    for (i, label, _, others), trial in zip(rows, trials, strict=True):
        usage = known.usage(trial)
        if usage is None:
            failed.append((i, label))
        else:
            rest = float(sum(squared_usage[j, label] for j in others))
            rest = rest if math.isfinite(rest) else 0.0
            squared_usage[i, label] = max(usage**2 - base - rest, 0.0)
    if len(failed) > len(rows) / 2:
        return _shares(known, encoding)
    for i, label in failed:
        column = squared_usage[:, label][np.isfinite(squared_usage[:, label])]
        squared_usage[i, label] = float(np.median(column)) if column.size else 1.0
    return squared_usage


def _contexts(
    encoding: Encoding, wanted: Bools | None
) -> list[tuple[int, int, Assignment, Sequence[int]]]:
    """(position, label, what to lower, which other positions that includes), near ones first."""
    space, rows = encoding.space, []
    for label, precision in enumerate(space.precisions[1:], start=1):
        for i, group in enumerate(space.free):
            if not encoding.allowed[i, label] or (wanted is not None and not wanted[i, label]):
                continue
            path = context(encoding, i, label)
            if path is None:
                continue
            keys = [group.key, *(space.free[j].key for j in path)]
            lowered = space.canonical(Assignment.of(dict.fromkeys(keys, precision)))
            rows.append((i, label, lowered, path))
    return sorted(rows, key=lambda row: (row[1], len(row[3]), row[0]))


def context(encoding: Encoding, start: int, label: int) -> tuple[int, ...] | None:
    """What else a group needs lowered for its own lowering to have an effect.

    For a passive group at INT8 the shortest way through passive ones to an active one, ``None``
    where there is none; nothing for the others.
    """
    if not encoding.passive[start] or encoding.space.precisions[label] is not Precision.INT8:
        return ()
    before: dict[int, int] = {start: start}
    queue = [start]
    for i in queue:
        for j in encoding.adjacent[i]:
            if j in before or not encoding.allowed[j, label]:
                continue
            before[j] = i
            if not encoding.passive[j]:
                path = [j]
                while before[path[-1]] != start:
                    path.append(before[path[-1]])
                return tuple(path)
            queue.append(j)
    return None


def _shares(known: History, encoding: Encoding) -> Floats:
    """Without proxies: each lowered group's equal share of the most lowered engine's error."""
    n, p = encoding.size
    squared_usage = np.where(encoding.allowed, 1.0 / max(n, 1), math.inf)
    squared_usage[:, 0] = 0.0
    for label in range(1, p):
        for assignment, trial in known.engines.items():
            usage, labels = known.usage(trial), encoding.encode(assignment)
            count = int((labels == label).sum())
            if usage is not None and math.isfinite(usage) and count == np.count_nonzero(labels) > 0:
                share = np.where(labels == label, usage**2 / count, squared_usage[:, label])
                squared_usage[:, label] = np.where(encoding.allowed[:, label], share, math.inf)
                break
    return squared_usage
