"""How long a search takes, from what its engines take: set-up, engines, proxies, confirmation."""

from __future__ import annotations

__all__ = ["search_seconds"]

_PROXIES = 0.5
"""Proxies for each second of engines, at most: strategies keep them to a third of the time."""
_CONFIRMATION = 3.0
"""The confirmation in engines: some finalists are opened again, and judged on the holdout."""


def search_seconds(
    engines: float, each: float, setup: float = 0.0, proxies: float | None = None
) -> float:
    """Seconds from the start of a run to its plan.

    Args:
        engines: Number of engines beside FP32's.
        each: Seconds that one takes to be built, checked and timed.
        setup: Seconds from the start to the search.
        proxies: Seconds that proxies have taken already, if more than is to be expected; ``None``
            where none are expected.
    """
    built = max(engines, 0.0) * each
    scored = 0.0 if proxies is None else max(proxies, _PROXIES * built)
    return setup + built + scored + _CONFIRMATION * each
