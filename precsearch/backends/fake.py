"""A backend without an engine, for tests of everything around one.

What each group costs and how much error it makes at which precision is planted in a `Landscape`,
and so are crashes, hangs and refusals. Everything is a function of the landscape and the model, so
that an engine measures the same wherever and whenever it runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from precsearch.backend import (
    Array,
    BackendOptions,
    Feed,
    Fingerprint,
    KernelTime,
    QuantScheme,
)
from precsearch.codec import dumps, structure, unstructure
from precsearch.errors import BuildError, OptionError, RunError
from precsearch.space import Assignment, Precision, SearchSpace

__all__ = [
    "Cost",
    "FakeBackend",
    "FakeLowered",
    "FakeSession",
    "Fault",
    "Landscape",
    "Pair",
    "fake_lower",
    "fake_reference",
]

_HANG_S = 3600.0
_SCHEME = QuantScheme(
    name="fake",
    activation="int8",
    weight_bits=8,
    active=frozenset({"Conv", "MatMul", "Gemm"}),
    passive=frozenset({"Add", "Concat"}),
    carried=frozenset({"Reshape", "Transpose"}),
    outputs_of=frozenset(),
)


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


@dataclass(frozen=True, slots=True)
class FakeLowered:
    """The JSON of an assignment, in place of a model; the attributes of a real lowering."""

    model: bytes
    digest: str
    asked: Mapping[str, Precision]
    owners: Mapping[str, str]


def fake_lower(
    space: SearchSpace, inert: frozenset[str] = frozenset()
) -> Callable[[Assignment], FakeLowered]:
    """A lowering for the fake backend; each group is one node of its name.

    Args:
        space: The groups.
        inert: Groups whose precision leaves no trace, so that different assignments make equal
            engines.
    """
    owners = {g.key: g.key for g in space.groups}

    def lower(assignment: Assignment) -> FakeLowered:
        space.check(assignment)
        kept = {k: p for k, p in assignment.entries if k not in inert}
        model = dumps(unstructure(Assignment.of(kept))).encode()
        return FakeLowered(model, hashlib.sha256(model).hexdigest(), kept, owners)

    return lower


def fake_reference(feed: Feed) -> dict[str, Array]:
    """What a model without errors answers: ``output``, 64 numbers that depend on the feed."""
    return {"output": _rng("reference", *_digest(feed)).standard_normal(64)}


class FakeSession:
    """An engine that looks its answers up. See `precsearch.backend.Session`."""

    def __init__(self, landscape: Landscape, assignment: Assignment) -> None:
        self._landscape = landscape
        self._assignment = assignment
        self._error = landscape.error(assignment)
        self._seconds = landscape.latency(assignment)
        self._noise = _rng("noise", landscape.seed, assignment.digest)
        self._open = True

    def run(self, feed: Feed) -> dict[str, Array]:
        """The reference and an error of exactly the planted size, in a random direction."""
        self._meet("run")
        if self._landscape.sleep:
            time.sleep(self._seconds)
        reference = fake_reference(feed)["output"].astype(np.float64)
        if not math.isfinite(self._error):
            return {"output": np.full_like(reference, self._error)}
        seed = self._landscape.seed
        wrong = _rng("error", seed, self._assignment.digest, *_digest(feed)).standard_normal(64)
        size = self._error * np.linalg.norm(reference) / np.linalg.norm(wrong)
        return {"output": reference + size * wrong}

    def time(self, feed: Feed, repeats: int) -> list[float]:
        """The planted time with noise."""
        self._meet("time")
        if self._landscape.sleep:
            time.sleep(self._seconds * repeats)
        noise = self._landscape.noise * self._noise.standard_normal(repeats)
        return [self._seconds * max(0.1, 1.0 + float(n)) for n in noise]

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """One kernel for each group."""
        landscape, assignment = self._landscape, self._assignment
        return tuple(
            KernelTime(key, f"Fake_{assignment[key]}", landscape.cost(key, assignment[key]).seconds)
            for key in landscape.costs
        )

    def close(self) -> None:
        """It does not run any more."""
        self._open = False

    def _meet(self, stage: str) -> None:
        if not self._open:
            raise RunError("the session is closed")
        fault = self._landscape.fault(self._assignment, stage)
        if fault is not None:
            _strike(fault)


class FakeBackend:
    """Builds what `fake_lower` makes. See `precsearch.backend.Backend`.

    Args:
        options: Of no effect.
        landscape: Or its JSON.

    Raises:
        OptionError: The JSON is something else.
    """

    name = "fake"
    precisions = frozenset(Precision)
    refusal = "it runs all"
    scheme = _SCHEME

    def __init__(self, options: BackendOptions, landscape: Landscape | str | None = None) -> None:
        self.options = options
        if isinstance(landscape, str):
            landscape = Landscape.from_json(landscape)
        self.landscape = landscape or Landscape()

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.backend.Backend.fingerprint`."""
        return Fingerprint(self.name, {"numpy": np.__version__}, "no device")

    def build(self, model: bytes) -> bytes:
        """The model itself, if no fault is planted there."""
        fault = self.landscape.fault(_assignment(model), "build")
        if fault is not None:
            _strike(fault)
        return model

    def open(self, artifact: bytes, *, profiled: bool = False) -> FakeSession:
        """See `precsearch.backend.Backend.open`."""
        return FakeSession(self.landscape, _assignment(artifact))

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.backend.Backend.scheme_named`."""
        if name != _SCHEME.name:
            raise OptionError(f"the fake backend has no quantisation scheme {name!r}")
        return _SCHEME

    def achieved(self, op_type: str) -> Precision:
        """See `precsearch.backend.Backend.achieved`."""
        return Precision(op_type.removeprefix("Fake_"))


def _assignment(model: bytes) -> Assignment:
    try:
        return structure(json.loads(model), Assignment)
    except ValueError as error:
        raise BuildError(f"this is no model of the fake backend: {error}") from error


def _strike(fault: Fault) -> NoReturn:
    if fault.kind == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(_HANG_S)  # until the signal arrives
    if fault.kind == "exit":
        os._exit(3)
    if fault.kind == "hang":
        time.sleep(_HANG_S)
    if fault.kind == "memory":
        raise MemoryError(fault.message)
    raise (BuildError if fault.stage == "build" else RunError)(fault.message)


def _digest(feed: Feed) -> tuple[str, ...]:
    return tuple(
        f"{name} {hashlib.sha256(np.ascontiguousarray(feed[name]).tobytes()).hexdigest()}"
        for name in sorted(feed)
    )


def _rng(*parts: object) -> np.random.Generator:
    text = " ".join(map(str, parts))
    return np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:16], 16))
