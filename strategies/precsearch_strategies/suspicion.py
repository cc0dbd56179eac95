"""Which choices might be what made engines fail to build."""

from __future__ import annotations

import numpy as np

from precsearch_strategies.encoding import Bools, Encoding, Floats, Labels
from precsearch_strategies.known import Known

__all__ = ["suspicion"]


def suspicion(known: Known, encoding: Encoding) -> Floats:
    """(n, p): how probable it is that a choice alone makes an engine fail; 0 for FP32.

    A failure is no verdict on accuracy, so it leaves the error model alone. Each failed trial
    shares the blame among those of its choices that no successful trial has had, as in group
    testing (Dorfman, *Annals of Mathematical Statistics* 14, 1943); a trial that has no such choice
    failed by chance. An engine that ran clears its choices of all; a proxy that ran clears them of
    failed proxies alone, because a backend may refuse what a simulation accepts.
    """
    n, p = encoding.size
    innocent = np.ones((n, p))
    engines = {encoding.encode(a).tobytes(): t.measurement for a, t in known.engines.items()}
    proxies = {encoding.encode(a).tobytes(): t.measurement for a, t in known.proxies.items()}
    cleared = _ran(encoding, [x for x, m in engines.items() if m is not None])
    simulated = _ran(encoding, [x for x, m in proxies.items() if m is not None])
    for trials, clear in ((engines, cleared), (proxies, cleared | simulated)):
        for row in sorted(x for x, m in trials.items() if m is None):
            labels = np.frombuffer(row, dtype=np.intp)
            suspects = np.flatnonzero((labels > 0) & ~clear[np.arange(n), labels])
            innocent[suspects, labels[suspects]] *= 1.0 - 1.0 / (len(suspects) + 1.0)
    return np.asarray(1.0 - innocent)


def _ran(encoding: Encoding, rows: list[bytes]) -> Bools:
    n, p = encoding.size
    found = np.zeros((n, p), dtype=bool)
    for row in rows:
        labels: Labels = np.frombuffer(row, dtype=np.intp)
        found[np.arange(n), labels] = True
    return found
