"""The measurement service: it holds data, reference and the FP32 engine, and measures others.

It runs in a process of its own, where a crash ends no search; see `precsearch.executors`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from precsearch.core.backend import (
    ChoosesFp32,
    ChoosesTactics,
    Fingerprint,
    Fp32Mode,
    Session,
)
from precsearch.core.backend.old_names import engine_warnings
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measurement
from precsearch.measurement.artifact_store import Artifact
from precsearch.measurement.build_service import Engine, engine_of
from precsearch.measurement.config import Candidate, MeasurementConfig, ReferenceSplit, Rival
from precsearch.measurement.engines import EngineSource
from precsearch.measurement.place import Place
from precsearch.measurement.probes import SMOOTH, FirstLook, Probes
from precsearch.measurement.profiling import (
    achieved_precisions,
    products_told,
    profiled,
    seconds_by_group,
)
from precsearch.measurement.reference_service import Announce, ReferenceService
from precsearch.measurement.scoring import Scorer, Scores
from precsearch.measurement.timing.confirming import timed_together
from precsearch.measurement.timing.timer import EngineTimer, surroundings

if TYPE_CHECKING:
    from precsearch.emulation.multiplexed import ProxyRequest

__all__ = ["Candidate", "MeasurementConfig", "MeasurementService", "ReferenceSplit", "Rival"]

_SLOW_OPEN_S = 2.0
"""An engine that opens for longer is timed once: what memory looks like changes little for it."""


class MeasurementService(ReferenceService):
    """Measures candidates against the FP32 engine on one device.

    Args:
        place: Paths on this host.
        config: What to measure with.
        announce: Is told the name of each stage as it begins.

    Raises:
        OptionError: The backend is not installed here, or the metric is unknown.
    """

    def __init__(self, place: Place, config: MeasurementConfig, announce: Announce) -> None:
        super().__init__(place, announce)
        self._config = config
        self._options = replace(
            config.options,
            model_folder=place.weights,
            cache=place.build_cache,
            scratch=place.engines,
        )
        self._backend = config.backend(self._options)
        self._scorer = Scorer(config.metric, config.metric_sha256, config.also)
        self._engines = EngineSource(self._backend, place.engines, config)
        self._timer = EngineTimer(
            lambda: self._engines.open(self._config.baseline),
            config.timed,
            config.noise,
            config.timing,
            surroundings(self._backend),
        )
        self._seen = SMOOTH if self._scorer.smooth else 1.0  # of what a proxy may see
        self._probes = Probes(config.proxy, self._options, self._seen)
        self._look = FirstLook(self._seen)

    def adopt(self, config: MeasurementConfig) -> None:
        """Go on with a config of the same backend, options and FP32 engine; engines stay."""
        self._config = config
        self._timer.adopt(config.timed, config.noise, config.timing)
        self._probes = Probes(config.proxy, self._options, self._seen)

    def fingerprint(self) -> Fingerprint:
        """Versions and device."""
        return self._backend.fingerprint()

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """What FP32 may mean on this backend and device; nothing if there is one way alone."""
        return self._backend.fp32_modes() if isinstance(self._backend, ChoosesFp32) else ()

    def warm_up(self) -> None:
        """Open the FP32 engine, so that no trial pays for it.

        Raises:
            BuildError: The backend refused the engine.
        """
        self._announce("build")
        self._timer.warm_up()

    def calibrate_noise(self) -> float:
        """Time the FP32 engine against itself; the relative floor under which all is a tie.

        Raises:
            BuildError: The backend refused the engine.
            RunError: It failed.
        """
        self._announce("time")
        return self._timer.calibrate()

    def fp32_latency(self) -> Latency:
        """The FP32 engine's latency on this device, as measured last.

        Raises:
            BuildError: The backend refused the engine.
            RunError: It failed.
        """
        self._announce("time")
        return self._timer.fp32()

    def _some(self, session: Session, rival: Rival | None, built: float) -> Measurement:
        part, losses = self._config.search, () if rival is None else rival.losses
        seen, outputs = self._look.run(session.run, part.data, losses)
        return self._scorer.of_some(part, seen, outputs).measured(built)

    def measure(
        self,
        candidate: Candidate,
        fidelity: Fidelity,
        rival: Rival | None = None,
        scored: Accuracy | None = None,
    ) -> Measurement:
        """Accuracy, and at engine fidelity latency, profile and achieved precision.

        Args:
            candidate: The engine.
            fidelity: Whether it is to be timed.
            rival: What is known already; without it the engine is timed once, until it can be told
                from FP32.
            scored: Its accuracy, if another device has measured it: it is timed alone.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        self._announce("build")
        start = time.perf_counter()
        artifact, opening = self._engines.built(candidate), time.perf_counter()
        session = self._backend.open(artifact)
        built, opened = (time.perf_counter() - begun for begun in (start, opening))
        plain = candidate.digest == self._config.baseline.digest
        try:
            self._announce("run")
            if fidelity is Fidelity.PROXY:
                return self._some(session, rival, built)
            scores = Scores(scored) if scored else self._scorer.every(session, self._config.search)
            timed = None if plain else self._time(session, scores.accuracy, rival)
        finally:
            session.close()
        latency = timed or self.fp32_latency()  # a third session of FP32 would be open before
        kernels = profiled(self._backend, artifact, self._timer.loads[0].feeds[0])
        told = products_told(self._backend, artifact, candidate.products)
        concluded = rival is not None and rival.decides(scores.accuracy, latency)
        if concluded and not plain and opened <= _SLOW_OPEN_S:
            self._announce("time")
            latency = self._timer.again(lambda: self._backend.open(artifact), latency, rival)
        if rival is not None:
            better = concluded and not plain and latency.ratio < rival.ratio
            self._engines.pin(candidate.digest if better else rival.digest)
        return replace(
            self._engines.weighed(scores.measured(built), candidate, artifact),
            latency=latency,
            **seconds_by_group(kernels, candidate.owners, latency.seconds),
            achieved=achieved_precisions(kernels, candidate.asked, candidate.owners, told=told),
            warnings=engine_warnings(self._backend, artifact),
        )

    def memory(self, candidate: Candidate) -> int:
        """See `EngineSource.memory`. The process should be a new one."""
        self._announce("run")
        return self._engines.memory(candidate, [load.feeds[0] for load in self._timer.loads])

    def check(self, candidate: Candidate) -> Measurement:
        """Build an engine and score it on all of the search part; it is not timed.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        self._announce("build")
        start = time.perf_counter()
        artifact = self._engines.built(candidate)
        session = self._backend.open(artifact)
        built = time.perf_counter() - start
        try:
            self._announce("run")
            scores = self._scorer.every(session, self._config.search)
        finally:
            session.close()
        size = self._engines.size(candidate, artifact)
        return replace(scores.measured(built), artifact_bytes=size)

    def probe(self, request: ProxyRequest, losses: Sequence[float] = ()) -> Measurement:
        """Accuracy of an assignment in the proxy, which stays open.

        Args:
            request: The assignment.
            losses: Of each sample of the search part in a rough engine, see
                `precsearch.core.trial.hardness`; those of the first call count.

        Raises:
            BuildError: The proxy does not open.
            RunError: It failed.
        """
        self._announce("proxy")
        start = time.perf_counter()
        self._probes.ready()
        opened = time.perf_counter() - start
        self._announce("run")
        part = self._config.search
        seen, outputs = self._probes.run(request, part.data, losses)
        return self._scorer.of_some(part, seen, outputs).measured(opened)

    def confirm(self, candidates: Sequence[Candidate], rebuilds: int) -> list[tuple[Latency, ...]]:
        """Each candidate's latency, ``rebuilds`` times newly opened, in the same rounds.

        See `precsearch.measurement.timing.confirming.timed_together`.

        Raises:
            BuildError: The backend refused a model.
            RunError: An engine failed.
        """
        latencies: list[tuple[Latency, ...]] = []
        for _ in range(rebuilds):
            engines = [partial(self._engines.open, c) for c in candidates]
            latencies.append(timed_together(engines, self._timer.side_by_side, self._announce))
        return [tuple(row[i] for row in latencies) for i in range(len(candidates))]

    def engine(self, candidate: Candidate) -> Engine:
        """The engine as it is shipped, not built again if it was kept.

        Raises:
            BuildError: The backend refused the model.
        """
        self._announce("build")
        return engine_of(self._backend, self._engines.built(candidate), candidate.products)

    def hold(self, tactics: Mapping[str, str]) -> None:
        """Keep later builds to these tactics, see `precsearch.core.backend.ChoosesTactics`."""
        if isinstance(self._backend, ChoosesTactics):
            self._backend.hold(tactics)

    def artifact(self, candidate: Candidate) -> Artifact:
        """The engine as `keep` takes it on another host.

        Raises:
            BuildError: The backend refused the model.
        """
        self._announce("build")
        return self._engines.artifact(candidate)

    def keep(self, candidate: Candidate, artifact: Artifact) -> None:
        """Take an engine that was built before for a candidate's, in place of building one."""
        self._engines.keep(candidate, artifact)

    def receive(self, candidate: Candidate, artifact: Artifact) -> None:
        """Take an engine that another host built, into the artifact store."""
        self._engines.receive(candidate, artifact)

    def pin(self, digests: Sequence[str]) -> None:
        """Keep these candidates' engines beside FP32's, whatever the budget."""
        self._engines.pin(*digests)

    def score(self, candidate: Candidate, part: ReferenceSplit) -> Accuracy:
        """Accuracy on another part of the data.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        self._announce("build")
        session = self._engines.open(candidate)
        self._announce("run")
        try:
            return self._scorer.of(session, part)
        finally:
            session.close()

    def _time(self, session: Session, accuracy: Accuracy, rival: Rival | None) -> Latency:
        self._announce("time")
        rough = rival is not None and not rival.matters(accuracy)
        return self._timer.once(session, rival, rough=rough)
