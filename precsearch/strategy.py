"""Deprecated, for one release: use `precsearch.core.strategy`."""

from precsearch.core.strategy import ENDINGS, Estimates, Proposals, ReasonedProposals, Strategy

__all__ = ["ENDINGS", "Estimates", "Proposals", "ReasonedProposals", "Strategy"]
