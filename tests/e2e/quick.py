"""The command with short timings, for tests: none of them may follow measured times.

``python -m tests.e2e.quick`` is ``python -m precsearch.cli.main`` but for that. In a process of the
tests themselves, tests/conftest.py does the same.
"""

from __future__ import annotations

from precsearch.cli import start
from precsearch.executors import candidates
from precsearch.measurement.timing.rounds import TimingOptions
from precsearch.optimization.stages import select

__all__ = ["time_quickly"]


def time_quickly() -> None:
    """Time engines of searches that this process starts in few and short rounds.

    Finalists are timed again in one new process instead of two. What several processes say
    together is tested in tests/optimization/stages, and tests/e2e/test_api.py times as users do.
    """
    candidates.usual_timing = lambda: TimingOptions(
        rounds=6, max_rounds=12, round_seconds=5e-4, warmup=1, seconds=1.0, apart_seconds=0.0
    )
    select.PROCESSES = 1  # type: ignore[attr-defined] # defined in finalists


if __name__ == "__main__":
    time_quickly()
    start.main()
