"""How much host memory an engine takes: the peak of a process, before and after it runs."""

from __future__ import annotations

from collections.abc import Sequence

from precsearch.core.backend import Backend, Feed
from precsearch.system.memory import peak_growth

__all__ = ["memory_of"]


def memory_of(backend: Backend, artifact: bytes, feeds: Sequence[Feed]) -> int:
    """Bytes of host memory that opening an engine and running it takes, at the peak.

    Args:
        backend: Opens it.
        artifact: The engine, which is in memory already and is not counted.
        feeds: What it runs.

    Raises:
        BuildError: It does not open.
        RunError: It failed.
    """

    def run() -> None:
        session = backend.open(artifact)
        try:
            for feed in feeds:
                session.run(feed)
        finally:
            session.close()

    return peak_growth(run)
