"""Where a measurement service takes its engines from: the backend, or the artifact store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from precsearch.codec import dumps, unstructure
from precsearch.core.backend import Backend, Session, facts_of
from precsearch.measurement.artifact_store import ArtifactStore
from precsearch.measurement.config import Candidate, MeasurementConfig

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
        self._store: ArtifactStore | None = None
        self._mine: set[str] = set()

    def built(self, candidate: Candidate, *, afresh: bool = False) -> bytes:
        """The engine; one that is kept is not built again.

        Args:
            candidate: The engine.
            afresh: Build it unless this process did so before, since only the process that built
                an engine knows the builder's remarks and which nodes its kernels come from.

        Raises:
            BuildError: The backend refused the model.
        """
        if not self._keeps and candidate.digest not in self._mine:
            return self._backend.build(candidate.model)
        store = self._opened()
        if candidate.digest in self._mine or not afresh:
            kept = store.get(candidate.digest)
            if kept is not None:
                return kept
        made = self._backend.build(candidate.model)
        store.put(candidate.digest, made)
        self._mine.add(candidate.digest)
        return made

    def open(self, candidate: Candidate) -> Session:
        """The engine, ready to run.

        Raises:
            BuildError: The backend refused the model.
        """
        return self._backend.open(self.built(candidate))

    def keep(self, candidate: Candidate, artifact: bytes) -> None:
        """Take an engine that was built elsewhere for a candidate's; it stays."""
        self._opened().pin([self._baseline, candidate.digest])
        self._opened().put(candidate.digest, artifact)
        self._mine.add(candidate.digest)

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
