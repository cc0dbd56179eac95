"""What is planted: times, errors and faults, as a function of the assignment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from precsearch.codec import dumps, structure, unstructure
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment

__all__ = ["Cost", "Fault", "Landscape", "Pair"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a group does at one precision: seconds of one inference, and relative L2 error."""

    seconds: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """An error that two groups make only together."""

    first: str
    first_at: Precision
    second: str
    second_at: Precision
    error: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        kind: ``error`` (refused, or fails to run), ``memory`` (`MemoryError`), ``segv``, ``exit``
            (the process ends), ``hang``.
        stage: ``build``, ``run`` or ``time``.
        when: It strikes the assignments that give these groups these precisions.
        message: Of a ``error`` or ``memory``.
    """

    kind: str
    stage: str = "build"
    when: Mapping[str, Precision] = field(default_factory=dict)
    message: str = "planted"

    def __post_init__(self) -> None:
        if self.kind not in ("error", "memory", "segv", "exit", "hang"):
            raise OptionError(f"a fault cannot be a {self.kind!r}")
        if self.stage not in ("build", "run", "time"):
            raise OptionError(f"a fault cannot strike at {self.stage!r}")


@dataclass(frozen=True, slots=True)
class Landscape:
    """What there is to find.

    Attributes:
        costs: Group → precision → cost. Precisions that are missing cost what FP32 does.
        seconds: Time of an inference beside its groups.
        edges: Neighbouring groups.
        boundary: Seconds for each edge between unequal precisions.
        pairs: Errors of interaction.
        noise: Relative standard deviation of times.
        faults: What goes wrong.
        sleep: Whether an inference really takes its time.
        seed: Of the noise and of the direction of errors.
    """

    costs: Mapping[str, Mapping[Precision, Cost]] = field(default_factory=dict)
    seconds: float = 1e-4
    edges: tuple[tuple[str, str], ...] = ()
    boundary: float = 0.0
    pairs: tuple[Pair, ...] = ()
    noise: float = 0.0
    faults: tuple[Fault, ...] = ()
    sleep: bool = False
    seed: int = 0

    def to_json(self) -> str:
        """Text that a worker can be given."""
        return dumps(unstructure(self))

    @classmethod
    def from_json(cls, text: str) -> Landscape:
        """Read what `to_json` writes.

        Raises:
            OptionError: It is something else.
        """
        try:
            return structure(json.loads(text), cls)
        except ValueError as error:
            raise OptionError(f"this is no landscape: {error}") from error

    def cost(self, key: str, precision: Precision) -> Cost:
        """What a group costs; nothing if it is unknown."""
        costs = self.costs.get(key, {})
        return costs.get(precision) or costs.get(Precision.FP32) or Cost(0.0)

    def latency(self, assignment: Assignment) -> float:
        """Seconds of one inference, without noise."""
        groups = sum(self.cost(key, assignment[key]).seconds for key in self.costs)
        borders = sum(assignment[a] is not assignment[b] for a, b in self.edges)
        return self.seconds + groups + borders * self.boundary

    def error(self, assignment: Assignment) -> float:
        """Relative L2 error: independent ones add in squares, interactions on top."""
        squares = sum(self.cost(key, assignment[key]).error ** 2 for key in self.costs)
        pairs = sum(
            p.error
            for p in self.pairs
            if assignment[p.first] is p.first_at and assignment[p.second] is p.second_at
        )
        return math.sqrt(squares) + pairs

    def fault(self, assignment: Assignment, stage: str) -> Fault | None:
        """What goes wrong at a stage, the first one planted."""
        for fault in self.faults:
            strikes = all(assignment[key] is p for key, p in fault.when.items())
            if strikes and fault.stage == stage:
                return fault
        return None
