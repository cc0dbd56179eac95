"""Deprecated, for one release: use `precsearch.core.strategy`."""

from precsearch.core.strategy import (
    ENDINGS,
    Ahead,
    Estimates,
    Proposals,
    ReasonedProposals,
    Strategy,
)

__all__ = ["ENDINGS", "Ahead", "Estimates", "Proposals", "ReasonedProposals", "Strategy"]
