"""What the worker process does: it holds data, reference and the FP32 engine, and measures others.

Runs in the child process of a `precsearch.workers.Worker`; a crash here kills no one else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from precsearch.attribution import achieved_by_group, seconds_by_group
from precsearch.backend import ChoosesTactics, Feed, Fingerprint, KernelTime, Session
from precsearch.benchsetup import BenchSetup, Candidate, Scored
from precsearch.data import Dataset
from precsearch.errors import BuildError
from precsearch.maker import Engine, engine_of
from precsearch.measure import (
    Load,
    against_itself,
    compare,
    head_to_head,
    noise_floor,
)
from precsearch.metrics import metric
from precsearch.onnxio.proxygraph import ProxyRequest
from precsearch.reference.bench import Announce, ReferenceBench
from precsearch.reference.proxy import Proxy
from precsearch.trial import Accuracy, Fidelity, Latency, Measurement
from precsearch.turns import InTurns

__all__ = ["Bench", "BenchSetup", "Candidate", "Scored", "open_bench"]

_PROXY_FEEDS = 64
_PROXY_SECONDS = 1.0
_PROFILE_RUNS = 3
_TWINS = 3


class Bench(ReferenceBench):
    """Measures candidates against the FP32 engine on one device."""

    def __init__(self, setup: BenchSetup, announce: Announce) -> None:
        super().__init__(announce)
        self._setup = setup
        self._backend = setup.backend(setup.options)
        self._metric = metric(setup.metric, setup.metric_sha256)
        self._baseline: Session | None = None
        self._timed = _timed(setup)
        self._noise = setup.noise
        self._latency: Latency | None = None
        self._artifacts: dict[str, bytes] = {}
        self._probed: int | None = None
        self._proxy: Proxy | None = None

    def adopt(self, setup: BenchSetup) -> None:
        """Go on with what was not known when it was made; engines that were built are kept.

        Args:
            setup: Of the same backend, options and FP32 engine.
        """
        self._setup = setup
        self._timed = _timed(setup)
        self._noise = setup.noise

    def fingerprint(self) -> Fingerprint:
        """Versions and device."""
        return self._backend.fingerprint()

    def calibrate_noise(self) -> float:
        """Time the FP32 engine against itself; the relative floor under which all is a tie.

        The median over several newly opened twins: two sessions of one engine differ by what their
        memory happens to look like, and something else may use the machine for a moment.
        """
        self._announce("time")
        floors = []
        for _ in range(_TWINS):
            twin = self._open(self._setup.baseline)
            try:
                floor, self._latency = noise_floor(
                    twin, self._fp32(), self._timed, self._setup.timing
                )
            finally:
                twin.close()
            floors.append(floor)
        self._noise = median(floors)
        return self._noise

    def measure(self, candidate: Candidate, fidelity: Fidelity) -> Measurement:
        """Accuracy, and at engine fidelity latency, profile and achieved precision.

        Raises:
            BuildError: The backend refused the model.
            RunError: The engine failed.
        """
        self._announce("build")
        start = time.perf_counter()
        artifact = self._built(candidate)
        session = self._backend.open(artifact)
        built = time.perf_counter() - start
        try:
            self._announce("run")
            if fidelity is Fidelity.PROXY:
                return Measurement(
                    self._accuracy(session, self._setup.search, _PROXY_FEEDS), build_seconds=built
                )
            accuracy = self._accuracy(session, self._setup.search)
            self._announce("time")
            latency = self._time(candidate, session)
        finally:
            session.close()
        kernels = self._profile(artifact)
        return Measurement(
            accuracy=accuracy,
            latency=latency,
            group_seconds=seconds_by_group(kernels, candidate.owners, latency.seconds),
            achieved=achieved_by_group(kernels, candidate.asked, candidate.owners),
            build_seconds=built,
            artifact_bytes=len(artifact),
            remarks=self._backend.remarks(artifact),
        )

    def probe(self, request: ProxyRequest) -> Measurement:
        """Accuracy of an assignment in the proxy, which stays open.

        Raises:
            BuildError: The proxy does not open.
            RunError: It failed.
        """
        self._announce("build")
        start = time.perf_counter()
        part = self._setup.search
        if self._proxy is None:
            self._proxy = self._opened_proxy()
        opened = time.perf_counter() - start
        self._announce("run")
        data = part.data.take(range(self._proxy_feeds(self._proxy, request)))
        found = self._scored(self._proxy.run(request, data.feeds), part, data)
        return Measurement(found, build_seconds=opened)

    def _proxy_feeds(self, proxy: Proxy, request: ProxyRequest) -> int:
        """How many feeds a proxy sees: as many as it can run in about a second, the same always.

        A search asks for hundreds of proxies, to rank groups; engines see all of the data.
        """
        feeds = self._setup.search.data.feeds
        if self._probed is None:
            lanes = proxy.lanes
            proxy.run(request, feeds[:lanes])  # the first run is cold
            start = time.perf_counter()
            proxy.run(request, feeds[:lanes])
            took = max(time.perf_counter() - start, 1e-6)
            rows = max(1, int(_PROXY_SECONDS / took))
            self._probed = min(rows * lanes, _PROXY_FEEDS, len(feeds))
        return self._probed

    def _opened_proxy(self) -> Proxy:
        model, options = self._setup.proxy, self._setup.options
        if model is None:
            raise BuildError("this bench was given no proxy")
        threads = options.threads or len(os.sched_getaffinity(0))
        return Proxy(model, threads, threads, options.model_folder)

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
                found.append(head_to_head(sessions, self._fp32(), self._timed, self._setup.timing))
            finally:
                for session in sessions:
                    session.close()
        return [tuple(row[i] for row in found) for i in range(len(candidates))]

    def engine(self, candidate: Candidate) -> Engine:
        """The engine as it is shipped, not built again if it was kept.

        Raises:
            BuildError: The backend refused the model.
        """
        self._announce("build")
        return engine_of(self._backend, self._built(candidate))

    def hold(self, tactics: Mapping[str, str]) -> None:
        """Keep later builds to these tactics, see `precsearch.backend.ChoosesTactics`."""
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

    def _fp32(self) -> Session:
        if self._baseline is None:
            self._baseline = self._open(self._setup.baseline)
        return self._baseline

    def _accuracy(self, session: Session, part: Scored, limit: int | None = None) -> Accuracy:
        data = part.data if limit is None else part.data.take(range(min(limit, len(part.data))))
        return self._scored([session.run(feed) for feed in data.feeds], part, data)

    def _scored(self, outputs: Sequence[Feed], part: Scored, data: Dataset) -> Accuracy:
        reference = part.reference[: len(outputs)]
        return self._metric.score(outputs, reference, data.flat_labels, sizes=data.sizes)

    def _time(self, candidate: Candidate, session: Session) -> Latency:
        setup = self._setup
        if candidate.digest == setup.baseline.digest:
            if self._latency is None:
                self.calibrate_noise()
            assert self._latency is not None
            return against_itself(self._latency)
        return compare(session, self._fp32(), self._timed, self._noise, setup.timing)

    def _profile(self, artifact: bytes) -> tuple[KernelTime, ...]:
        session = self._backend.open(artifact, profiled=True)
        try:
            return session.profile(self._timed[0].feeds[0], _PROFILE_RUNS)
        finally:
            session.close()


def _timed(setup: BenchSetup) -> tuple[Load, ...]:
    data = setup.search.data
    return setup.loads or (Load.spread(data.feeds, data.sizes[0]),)


def open_bench(setup: BenchSetup | None, announce: Announce) -> ReferenceBench | InTurns:
    """What a worker serves: without a setup, the reference alone."""
    if setup is None:
        return ReferenceBench(announce)
    if setup.turns is None:
        return Bench(setup, announce)
    return InTurns(partial(Bench, setup), setup.turns, announce)
