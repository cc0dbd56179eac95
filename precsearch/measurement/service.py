"""What the worker process does: it holds data, reference and the FP32 engine, and measures others.

Runs in the child process of a `precsearch.executors.process.Worker`; a crash here kills no one
else.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from precsearch.core.backend import (
    Array,
    Backend,
    ChoosesFp32,
    ChoosesTactics,
    Feed,
    Fingerprint,
    Fp32Mode,
    KernelTime,
    Session,
)
from precsearch.core.old_names import engine_warnings
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measurement
from precsearch.emulation.multiplexed import ProxyRequest
from precsearch.measurement.build_service import Engine, engine_of
from precsearch.measurement.config import BenchSetup, Candidate, Rival, Scored
from precsearch.measurement.device_lock import InTurns
from precsearch.measurement.latency import Load, Surroundings
from precsearch.measurement.probes import FirstLook, Probes
from precsearch.measurement.profiling import achieved_precisions, seconds_by_group
from precsearch.measurement.reference_service import Announce, ReferenceBench
from precsearch.measurement.timer import EngineTimer
from precsearch.metrics import metric, with_lost_parts, worst_of
from precsearch.system.disturbance import Patience, Watches

__all__ = ["Bench", "BenchSetup", "Candidate", "Rival", "Scored", "open_bench"]

_PROFILE_RUNS = 3
_SLOW_OPEN_S = 2.0
"""An engine that opens for longer is timed once: what memory looks like changes little for it."""


class Bench(ReferenceBench):
    """Measures candidates against the FP32 engine on one device."""

    def __init__(self, setup: BenchSetup, announce: Announce) -> None:
        super().__init__(announce)
        self._setup = setup
        self._backend = setup.backend(setup.options)
        self._metric = metric(setup.metric, setup.metric_sha256)
        self._timer = EngineTimer(
            lambda: self._open(self._setup.baseline),
            _timed(setup),
            setup.noise,
            setup.timing,
            _surroundings(self._backend),
        )
        self._artifacts: dict[str, bytes] = {}
        self._probes = Probes(setup.proxy, setup.options)
        self._look = FirstLook()

    def adopt(self, setup: BenchSetup) -> None:
        """Go on with a setup of the same backend, options and FP32 engine; built engines stay."""
        self._setup = setup
        self._timer.adopt(_timed(setup), setup.noise, setup.timing)
        self._probes = Probes(setup.proxy, setup.options)

    def fingerprint(self) -> Fingerprint:
        """Versions and device."""
        return self._backend.fingerprint()

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """What FP32 may mean on this backend and device; nothing if there is one way alone."""
        return self._backend.fp32_modes() if isinstance(self._backend, ChoosesFp32) else ()

    def calibrate_noise(self) -> float:
        """Time the FP32 engine against itself; the relative floor under which all is a tie.

        Raises:
            BuildError: The backend refused the engine.
            RunError: It failed.
        """
        self._announce("time")
        return self._timer.calibrate()

    def measure(
        self, candidate: Candidate, fidelity: Fidelity, rival: Rival | None = None
    ) -> Measurement:
        """Accuracy, and at engine fidelity latency, profile and achieved precision.

        Args:
            candidate: The engine.
            fidelity: Whether it is to be timed.
            rival: What is known already; without it the engine is timed once, until it can be told
                from FP32.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        self._announce("build")
        start = time.perf_counter()
        artifact = self._built(candidate)
        opening = time.perf_counter()
        session = self._backend.open(artifact)
        now = time.perf_counter()
        built, opened = now - start, now - opening
        try:
            self._announce("run")
            if fidelity is Fidelity.PROXY:
                part, losses = self._setup.search, () if rival is None else rival.losses
                seen, outputs = self._look.run(session.run, part.data, losses)
                return Measurement(self._some(part, seen, outputs), build_seconds=built)
            accuracy = self._accuracy(session, self._setup.search)
            self._announce("time")
            latency = self._time(candidate, session, accuracy, rival)
        finally:
            session.close()
        kernels = self._profile(artifact)
        concluded = rival is not None and rival.decides(accuracy, latency)
        plain = candidate.digest == self._setup.baseline.digest
        if concluded and not plain and opened <= _SLOW_OPEN_S:
            self._announce("time")
            latency = self._timer.again(lambda: self._backend.open(artifact), latency, rival)
        return Measurement(
            accuracy=accuracy,
            latency=latency,
            group_seconds=seconds_by_group(kernels, candidate.owners, latency.seconds),
            achieved=achieved_precisions(kernels, candidate.asked, candidate.owners),
            build_seconds=built,
            artifact_bytes=len(artifact),
            warnings=engine_warnings(self._backend, artifact),
        )

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
        part = self._setup.search
        seen, outputs = self._probes.run(request, part.data, losses)
        return Measurement(self._some(part, seen, outputs), build_seconds=opened)

    def confirm(self, candidates: Sequence[Candidate], rebuilds: int) -> list[tuple[Latency, ...]]:
        """Each candidate's latency, ``rebuilds`` times newly opened, all in the same rounds.

        Raises:
            BuildError: The backend refused a model.
            RunError: An engine failed.
        """
        found: list[tuple[Latency, ...]] = []
        for _ in range(rebuilds):
            self._announce("build")
            sessions = [self._open(c) for c in candidates]
            self._announce("time")
            try:
                found.append(self._timer.side_by_side(sessions))
            finally:
                for session in sessions:
                    session.close()
        return [tuple(row[i] for row in found) for i in range(len(candidates))]

    def shipped(
        self, candidates: Sequence[Candidate]
    ) -> tuple[BenchSetup, tuple[tuple[Candidate, bytes], ...]]:
        """What a bench in another process needs to time these engines beside FP32's.

        Returns:
            A setup with as much data as is timed, and no proxy; the engines that took long to
            build, FP32's among them, for `keep`.

        Raises:
            BuildError: The backend refused a model.
        """
        nothing = Scored(self._setup.search.data.take([0]), ())
        setup = replace(
            self._setup,
            search=nothing,
            loads=self._timer.loads,
            noise=self._timer.noise,
            proxy=None,
        )
        if not self._backend.compiles:
            return setup, ()
        engines = [self._setup.baseline, *candidates]
        return setup, tuple((replace(c, model=b""), self._built(c)) for c in engines)

    def engine(self, candidate: Candidate) -> Engine:
        """The engine as it is shipped, not built again if it was kept.

        Raises:
            BuildError: The backend refused the model.
        """
        self._announce("build")
        return engine_of(self._backend, self._built(candidate))

    def hold(self, tactics: Mapping[str, str]) -> None:
        """Keep later builds to these tactics, see `precsearch.core.backend.ChoosesTactics`."""
        if isinstance(self._backend, ChoosesTactics):
            self._backend.hold(tactics)

    def keep(self, candidate: Candidate, artifact: bytes) -> None:
        """Take an engine that was built before for a candidate's."""
        self._artifacts[candidate.digest] = artifact

    def score(self, candidate: Candidate, part: Scored) -> Accuracy:
        """Accuracy on another part of the data.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        self._announce("build")
        session = self._open(candidate)
        self._announce("run")
        try:
            return self._accuracy(session, part)
        finally:
            session.close()

    def _built(self, candidate: Candidate) -> bytes:
        """The engine; one that took long to build is kept, and never built twice."""
        if not self._backend.compiles:
            return self._backend.build(candidate.model)
        if candidate.digest not in self._artifacts:
            self._artifacts[candidate.digest] = self._backend.build(candidate.model)
        return self._artifacts[candidate.digest]

    def _open(self, candidate: Candidate) -> Session:
        return self._backend.open(self._built(candidate))

    def _some(
        self, part: Scored, seen: Sequence[int], outputs: Sequence[Mapping[str, Array]]
    ) -> Accuracy:
        """Of the outputs for some of the feeds."""
        references = tuple(part.reference[i] for i in seen)
        return self._scored(outputs, Scored(part.data.take(seen), references))

    def _accuracy(self, session: Session, part: Scored) -> Accuracy:
        """At the worst of the sets of input shapes."""
        return worst_of(self._whole(session, one) for one in (part, *part.also))

    def _whole(self, session: Session, part: Scored) -> Accuracy:
        outputs = [session.run(feed) for feed in part.data.feeds]
        found = self._scored(outputs, part)
        found = with_lost_parts(self._metric, found, outputs, part.reference)
        return replace(found, shapes=part.name)

    def _scored(self, outputs: Sequence[Feed], part: Scored) -> Accuracy:
        labels, sizes = part.data.flat_labels, part.data.sizes
        return self._metric.score(outputs, part.reference, labels, sizes=sizes)

    def _time(
        self, candidate: Candidate, session: Session, accuracy: Accuracy, rival: Rival | None
    ) -> Latency:
        if candidate.digest == self._setup.baseline.digest:
            return self._timer.fp32()
        rough = rival is not None and not rival.matters(accuracy)
        return self._timer.once(session, rival, rough=rough)

    def _profile(self, artifact: bytes) -> tuple[KernelTime, ...]:
        session = self._backend.open(artifact, profiled=True)
        try:
            return session.profile(self._timer.loads[0].feeds[0], _PROFILE_RUNS)
        finally:
            session.close()


def _timed(setup: BenchSetup) -> tuple[Load, ...]:
    data = setup.search.data
    return setup.loads or (Load.spread(data.feeds, data.sizes[0]),)


def _surroundings(backend: Backend) -> Surroundings:
    if not isinstance(backend, Watches):
        return Surroundings()
    return Surroundings(backend.watch(), Patience())


def open_bench(setup: BenchSetup | None, announce: Announce) -> ReferenceBench | InTurns:
    """What a worker serves: without a setup, the reference alone."""
    if setup is None:
        return ReferenceBench(announce)
    if setup.turns is None:
        return Bench(setup, announce)
    return InTurns(partial(Bench, setup), setup.turns, setup.use, announce)
