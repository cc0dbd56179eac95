"""Which choices might be what made engines fail to build."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from precsearch.core.space import Assignment
from precsearch.core.trial import Trial
from precsearch_strategies.acquisition.exclusion import blamed
from precsearch_strategies.encoding import Bools, Encoding, Floats
from precsearch_strategies.history import History

__all__ = ["build_risk"]


def build_risk(known: History, encoding: Encoding) -> Floats:
    """(n, p): how probable it is that a choice alone makes an engine fail; 0 for FP32.

    A failure is no verdict on accuracy, so it leaves the error model alone. Each failed trial
    shares the blame among those of its choices that no successful trial has had, as in group
    testing (Dorfman, *Annals of Mathematical Statistics* 14, 1943); a trial that has no such choice
    failed by chance. An engine that ran clears its choices of all; a proxy that ran clears them of
    failed proxies alone, because a backend may refuse what a simulation accepts. What is excluded
    alone is certain, and an engine with an excluded set blames nothing else.
    """
    n, p = encoding.size
    innocent = np.ones((n, p))
    failed = {
        encoding.encode(a).tobytes()
        for a, t in known.engines.items()
        if not t.measurement and not known.excludes(a)
    }
    refused = {encoding.encode(a).tobytes() for a, t in known.proxies.items() if not t.measurement}
    certain = blamed(known, encoding)
    if not failed and not refused:
        return certain
    cleared = _ran(encoding, known.engines)
    simulated = cleared | _ran(encoding, known.proxies) if refused else cleared
    for rows, clear in ((failed, cleared), (refused, simulated)):
        for row in sorted(rows):
            labels = np.frombuffer(row, dtype=np.intp)
            suspects = np.flatnonzero((labels > 0) & ~clear[np.arange(n), labels])
            innocent[suspects, labels[suspects]] *= 1.0 - 1.0 / (len(suspects) + 1.0)
    return np.maximum(certain, 1.0 - innocent)


def _ran(encoding: Encoding, trials: Mapping[Assignment, Trial]) -> Bools:
    """(n, p) the choices that a trial with a measurement had."""
    n, p = encoding.size
    rows = [encoding.encode(a) for a, t in trials.items() if t.measurement is not None]
    many = np.array(rows, dtype=np.intp).reshape(-1, n)
    return np.stack([(many == label).any(axis=0) for label in range(p)], axis=1)
