"""Deprecated, for one release: use `precsearch.core.trial`."""

from precsearch.core.trial import (
    KILLED,
    UNKNOWN,
    Accuracy,
    Aggregation,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Outcome,
    Prediction,
    Proposal,
    Trial,
    hardness,
)
from precsearch.core.trial import (
    UNKNOWN as UNTOLD,
)

__all__ = [
    "KILLED",
    "UNKNOWN",
    "UNTOLD",
    "Accuracy",
    "Aggregation",
    "Failed",
    "Fidelity",
    "Latency",
    "Measured",
    "Measurement",
    "Outcome",
    "Prediction",
    "Proposal",
    "Trial",
    "hardness",
]
