"""Where a search begins: on one engine, or on several."""

from __future__ import annotations

from precsearch.optimization import run
from precsearch.optimization.across.run import across_events, several
from precsearch.optimization.pipeline import Stream
from precsearch.setup.config import OptimizeConfig

__all__ = ["optimize_events"]


def optimize_events(config: OptimizeConfig) -> Stream:
    """Search, and yield what happens; the generator returns the result.

    A `KeyboardInterrupt`, raised inside or thrown in, ends the search; the best plan so far is
    still written. ``config.backend`` may name several engines, with commas between.

    Raises:
        InputError: Something that the user gave is wrong; the message says what to change.
        ResourceError: The machine lacks room, memory, handles or processes.
    """
    return (across_events if several(config.backend) else run.optimize_events)(config)
