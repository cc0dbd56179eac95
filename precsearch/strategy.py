"""Deprecated, for one release: use `precsearch.core.strategy`."""

from precsearch.core.strategy import (
    ENDINGS,
    Ahead,
    Ending,
    Estimates,
    Proposals,
    ReasonedProposals,
    Strategy,
)

__all__ = ["ENDINGS", "Ahead", "Ending", "Estimates", "Proposals", "ReasonedProposals", "Strategy"]
