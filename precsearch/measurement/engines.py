"""Where a measurement service takes its engines from: the backend, or the artifact store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from precsearch.codec import dumps, unstructure
from precsearch.core.backend import Backend, Feed, KeepsNotes, Session, facts_of
from precsearch.core.trial import Measurement
from precsearch.measurement.artifact_store import Artifact, ArtifactStore
from precsearch.measurement.config import Candidate, MeasurementConfig
from precsearch.measurement.memory import memory_of
from precsearch.measurement.sizes import group_bytes, shipped_bytes

__all__ = ["EngineSource"]


class EngineSource:
    """Builds engines, and keeps those that are expensive to build.

    Engines of other versions, devices, build options or input shapes are in folders of their own,
    since the digest of a candidate tells of its model alone.

    Args:
        backend: Builds and opens engines.
        folder: Of the device's artifact stores, "" for a temporary one.
        config: Names the FP32 engine, which is never removed, and the budget.
    """

    def __init__(self, backend: Backend, folder: str, config: MeasurementConfig) -> None:
        self._backend = backend
        self._config = config
        self._baseline = config.baseline.digest
        self._folder = folder
        self._keeps = facts_of(backend).keep_artifacts
        self._is_model = facts_of(backend).artifact_is_model
        self._store: ArtifactStore | None = None
        self._given: dict[str, Artifact] = {}

    def built(self, candidate: Candidate) -> bytes:
        """The engine; one that is kept is not built again.

        Raises:
            BuildError: The backend refused the model.
        """
        if candidate.digest not in self._given and not self._keeps:
            return self._backend.build(bytes(candidate.model))
        kept = self._given.get(candidate.digest) or self._opened().get(candidate.digest)
        if kept is not None:
            self._learn(kept)
            return kept.engine
        engine = self._backend.build(bytes(candidate.model))
        self._opened().put(candidate.digest, engine, self._notes(engine))
        return engine

    def artifact(self, candidate: Candidate) -> Artifact:
        """The engine with what the backend knows of it, to be sent to another host.

        Raises:
            BuildError: The backend refused the model.
        """
        engine = self.built(candidate)
        return Artifact(engine, self._notes(engine))

    def open(self, candidate: Candidate) -> Session:
        """The engine, ready to run.

        Raises:
            BuildError: The backend refused the model.
        """
        return self._backend.open(self.built(candidate))

    def size(self, candidate: Candidate, engine: bytes) -> int:
        """Bytes of what is shipped, weights in files beside it included."""
        return shipped_bytes(engine, candidate.model, artifact_is_model=self._is_model)

    def weighed(self, measured: Measurement, candidate: Candidate, engine: bytes) -> Measurement:
        """``measured`` with the engine's bytes, and those of groups if the config asks for them."""
        owners = candidate.owners
        groups = group_bytes(candidate.model, owners) if self._config.sizes else {}
        size = self.size(candidate, engine)
        return replace(measured, artifact_bytes=size, group_bytes=groups)

    def memory(self, candidate: Candidate, feeds: Sequence[Feed]) -> int:
        """Bytes of host memory that opening the engine and running it takes, at the peak.

        Args:
            candidate: The engine.
            feeds: What it runs, each once.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        return memory_of(self._backend, self.built(candidate), feeds)

    def keep(self, candidate: Candidate, artifact: Artifact) -> None:
        """Take an engine that was built elsewhere for a candidate's, for as long as this lives."""
        self._given[candidate.digest] = artifact

    def receive(self, candidate: Candidate, artifact: Artifact) -> None:
        """Take an engine that another host built; it may be removed as any other."""
        if self._keeps:
            self._opened().put(candidate.digest, artifact.engine, artifact.notes)

    def _notes(self, engine: bytes) -> bytes:
        return self._backend.notes_of(engine) if isinstance(self._backend, KeepsNotes) else b""

    def _learn(self, kept: Artifact) -> None:
        if kept.notes and isinstance(self._backend, KeepsNotes):
            self._backend.learn(kept.engine, kept.notes)

    def pin(self, *digests: str) -> None:
        """Never remove the engines of these candidates, nor FP32's."""
        if self._keeps:
            self._opened().pin({self._baseline, *(d for d in digests if d)})

    def _opened(self) -> ArtifactStore:
        if self._store is None:
            folder = Path(self._folder) / self._context() if self._folder else None
            self._store = ArtifactStore(folder, self._config.engine_budget)
            self._store.pin([self._baseline])
        return self._store

    def _context(self) -> str:
        """Digest of all that an engine depends on beside its model."""
        options = self._config.options
        parts = {
            "where": unstructure(self._backend.fingerprint()),
            "build": dict(options.build),
            "threads": options.threads,
            "shapes": [{name: list(s) for name, s in one.items()} for one in options.shapes],
        }
        return hashlib.sha256(dumps(parts).encode()).hexdigest()[:16]
