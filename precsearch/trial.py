"""Deprecated, for one release: use `precsearch.core.trial`."""

from precsearch.core.trial import (
    KILLED,
    UNTOLD,
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

__all__ = [
    "KILLED",
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
