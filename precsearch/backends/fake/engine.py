"""The backend and its sessions: they look their answers up in a `Landscape`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from precsearch.backends.fake.landscape import Fault, Landscape
from precsearch.codec import dumps, structure, unstructure
from precsearch.core.backend import (
    TYPED,
    Array,
    BackendFacts,
    BackendOptions,
    Feed,
    Fingerprint,
    GraphForm,
    KernelTime,
    QuantScheme,
)
from precsearch.core.errors import BuildError, OptionError, RunError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace

__all__ = ["FakeBackend", "FakeLowered", "FakeSession", "fake_lower", "fake_reference"]

_HANG_S = 3600.0
_SCHEME = QuantScheme.int8(
    name="fake",
    activation="int8",
    weight_bits=8,
    active=frozenset({"Conv", "MatMul", "Gemm"}),
    passive=frozenset({"Add", "Concat"}),
    carried=frozenset({"Reshape", "Transpose"}),
    outputs_of=frozenset(),
)


@dataclass(frozen=True, slots=True)
class FakeLowered:
    """The JSON of an assignment, in place of a model; the attributes of a real lowering."""

    model: bytes
    digest: str
    asked: Mapping[str, Precision]
    owners: Mapping[str, str]
    products: tuple[str, ...] = ()

    @property
    def content(self) -> bytes:
        """The model, as a real lowering has it in pieces."""
        return self.model


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
    """An engine that looks its answers up. See `precsearch.core.backend.Session`."""

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
            KernelTime(
                (key,),
                "Fake",
                landscape.cost(key, assignment[key]).seconds,
                assignment[key],
            )
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
    """Builds what `fake_lower` makes. See `precsearch.core.backend.Backend`.

    Args:
        options: Of no effect.
        landscape: Or its JSON.

    Raises:
        OptionError: The JSON is something else.
    """

    name = "fake"
    precisions = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
    refusal = "precsearch writes no other precision for it"
    scheme = _SCHEME
    form = TYPED
    facts = BackendFacts()

    def __init__(self, options: BackendOptions, landscape: Landscape | str | None = None) -> None:
        self.options = options
        if isinstance(landscape, str):
            landscape = Landscape.from_json(landscape)
        self.landscape = landscape or Landscape()

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.core.backend.Backend.fingerprint`."""
        return Fingerprint(self.name, {"numpy": np.__version__}, "no device")

    def build(self, model: bytes) -> bytes:
        """The model itself, if no fault is planted there."""
        fault = self.landscape.fault(_assignment(model), "build")
        if fault is not None:
            _strike(fault)
        return model

    def open(self, artifact: bytes, *, profiled: bool = False) -> FakeSession:
        """See `precsearch.core.backend.Backend.open`."""
        return FakeSession(self.landscape, _assignment(artifact))

    def warnings(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.warnings`."""
        return ()

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.layer_summary`."""
        return ()

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme_named`."""
        if name != _SCHEME.name:
            raise OptionError(f"the fake backend has no quantization scheme {name!r}")
        return _SCHEME

    def form_named(self, name: str) -> GraphForm:
        """See `precsearch.core.backend.Backend.form_named`."""
        if name != TYPED.name:
            raise OptionError(f"the fake backend has no graph form {name!r}")
        return TYPED


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
