"""How far beyond what has passed the next engine may go."""

from __future__ import annotations

import math

import numpy as np

from precsearch_strategies.encoding import Bools, Encoding, Floats, Labels
from precsearch_strategies.history import History

__all__ = ["extension", "radius"]

_LEAST = 3.0


def extension(known: History, encoding: Encoding, many: Labels) -> Floats:
    """(c,) how many choices of (c, n) labels no passing engine has."""
    return _beyond(_passed(known, encoding), many)


def radius(known: History, encoding: Encoding) -> float:
    """The trust region, as a number of choices that no passing engine has; ``inf`` at first.

    An engine beyond the bound halves it, one within doubles it (the usual rule; Conn, Gould and
    Toint, *Trust-Region Methods*, 2000). With a ranking of the choices this is bisection on the
    ranking, carried on from wherever the models have led. Failed builds say nothing.
    """
    passed = np.zeros(encoding.size, dtype=bool)
    distance = math.inf
    for assignment, trial in known.engines.items():
        verdict = known.passes(trial)
        if verdict is None:
            continue
        labels = encoding.encode(assignment)
        size = float(_beyond(passed, labels[None])[0])
        if verdict:
            distance = 2 * distance if size > distance / 2 else distance
            passed[np.arange(len(labels)), labels] = True
        elif passed[:, 1:].any() and size > 0:
            distance = min(distance, max(size / 2, _LEAST))
    return distance


def _passed(known: History, encoding: Encoding) -> Bools:
    passed: Bools = np.zeros(encoding.size, dtype=bool)
    for trial in known.passing():
        labels = encoding.encode(trial.assignment)
        passed[np.arange(len(labels)), labels] = True
    return passed


def _beyond(passed: Bools, many: Labels) -> Floats:
    new = ~passed[np.arange(many.shape[1]), many] & (many > 0)
    return np.asarray(new.sum(axis=1), dtype=float)
