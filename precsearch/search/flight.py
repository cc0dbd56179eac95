"""Evaluations under way: more can be started while some run."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from precsearch.core.trial import Proposal
from precsearch.search.evaluator import Evaluate, Evaluated, Steps

__all__ = ["Flight"]

Row = tuple[int, Proposal]


class Flight:
    """The evaluations of one search, by trial number; a context manager that stops what runs.

    Args:
        evaluate: Runs proposals. What is started while it runs is sent to its steps; steps that
            take no more are asked for anew when they are done.
    """

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._steps: Steps | None = None
        self._rows: list[Row] = []  # by position in the steps
        self._new: list[Row] = []
        self._open: dict[int, Row] = {}  # positions without a result

    def __enter__(self) -> Flight:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs."""
        if self._steps is not None:
            self._steps.close()
        self._steps, self._rows, self._new, self._open = None, [], [], {}

    @property
    def running(self) -> int:
        """How many evaluations were started, or are to be, without a result."""
        return len(self._open) + len(self._new)

    @property
    def engines(self) -> int:
        """How many of these are engines."""
        rows = (*self._open.values(), *self._new)
        return sum(p.fidelity.value == "engine" for _, p in rows)

    def start(self, rows: Sequence[Row]) -> None:
        """Evaluate these, too, when there is a worker for them.

        Args:
            rows: Trial numbers and proposals.
        """
        self._new.extend(rows)

    def step(self) -> tuple[int, Proposal, Evaluated | None]:
        """Wait until an evaluation begins (``None``), or is done.

        Raises:
            RuntimeError: The steps ended without having evaluated all that was started.
        """
        while True:
            fresh = self._steps is None
            position, evaluated = self._advanced()
            if position is not None:
                number, proposal = self._rows[position]
                if evaluated is not None:
                    del self._open[position]
                    if not self.running:
                        self.close()
                return number, proposal, evaluated
            # Steps that take no more than they began with: the rest is evaluated after them.
            left = list(self._open.values())
            self.close()
            if fresh or not left:
                raise RuntimeError(f"{len(left)} proposals were not evaluated")
            self._new = left

    def _advanced(self) -> tuple[int | None, Evaluated | None]:
        """The next step; no position at the end."""
        new, self._new = self._new, []
        first = len(self._rows)
        self._rows.extend(new)
        self._open.update((first + i, row) for i, row in enumerate(new))
        more = tuple(p for _, p in new)
        try:
            if self._steps is None:
                self._steps = self._evaluate(more)
                return next(self._steps)
            return self._steps.send(more) if more else next(self._steps)
        except StopIteration:
            return None, None
