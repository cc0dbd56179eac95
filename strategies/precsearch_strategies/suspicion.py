"""Which choices might be what made engines fail to build."""

from __future__ import annotations

import numpy as np

from precsearch_strategies.encoding import Encoding, Floats
from precsearch_strategies.known import Known

__all__ = ["failures"]


def failures(known: Known, encoding: Encoding) -> Floats:
    """(n, p): how many failed trials had the choice; 0 once a trial of the same kind ran with it.

    A failure is no verdict on accuracy, so it leaves the error model alone: it makes the choices
    suspect that have only been seen in failures. Spectrum-based fault localisation in its
    simplest form (Jones & Harrold, ASE 2005).
    """
    n, p = encoding.size
    found = np.zeros((n, p))
    for trials in (known.engines, known.proxies):
        failed, ran = np.zeros((n, p)), np.zeros((n, p), dtype=bool)
        for assignment, trial in trials.items():
            labels = encoding.encode(assignment)
            if trial.measurement is None:
                failed[np.arange(n), labels] += 1
            else:
                ran[np.arange(n), labels] = True
        found = np.maximum(found, np.where(ran, 0.0, failed))
    found[:, 0] = 0.0
    return found
