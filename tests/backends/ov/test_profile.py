"""What OpenVINO's counters say of one run, on a made-up engine and clock.

Its first run is slow, and every seventh is disturbed, which one layer has all of.
"""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from precsearch.backends.openvino import backend as backend_module
from precsearch.backends.openvino import session as module
from precsearch.backends.openvino.artifact import EngineArtifact, NodeLink
from precsearch.backends.openvino.inspector import RuntimeLayer
from precsearch.backends.openvino.runtime import import_openvino
from precsearch.backends.openvino.session import OpenVinoSession
from precsearch.core.backend import BackendOptions
from tests.backends.ov.small_engines import made

STATUS = import_openvino().ProfilingInfo.Status
WARM_US = {"a": 7.3, "b": 40.6, "folded": 0.0}
SLOW_US = 90_000.0


class Clock:
    microseconds = 0.0

    def perf_counter(self) -> float:
        return self.microseconds * 1e-6


CLOCK = Clock()


class Request:
    """Counts as OpenVINO's `PerfCount` does: whole microseconds, and their mean of all runs."""

    def __init__(self) -> None:
        self.count, self.total = 0, dict.fromkeys(WARM_US, 0)
        self.output_tensors: list[object] = []

    def set_input_tensor(self, position: int, tensor: object) -> None: ...

    def infer(self, share_outputs: bool) -> None:
        self.count += 1
        for name, warm in WARM_US.items():
            jitter = 0.37 * (self.count % 3 - 1)
            slow = self.count == 1 or (self.count % 7 == 6 and name == "a")
            CLOCK.microseconds += SLOW_US if slow else warm
            self.total[name] += int(SLOW_US if slow else warm + jitter)

    @property
    def profiling_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                node_name=name,
                real_time=timedelta(microseconds=total // self.count),
                status=STATUS.NOT_RUN if name == "folded" else STATUS.EXECUTED,
            )
            for name, total in self.total.items()
        ]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> OpenVinoSession:
    layers = tuple(RuntimeLayer(n, "Convolution", (n,), "k_f32", "f32", "f32") for n in WARM_US)
    monkeypatch.setattr(module, "runtime_layers", lambda _: layers)
    monkeypatch.setattr(module, "time", CLOCK)
    nodes = tuple(NodeLink(n, (), (n,)) for n in WARM_US)
    compiled = SimpleNamespace(create_infer_request=Request)
    return OpenVinoSession(compiled, EngineArtifact(("x",), (), nodes, b""), profiled=True)


@pytest.mark.parametrize("before", [0, 5])
def test_the_slow_first_run_and_disturbed_ones_are_not_in_the_profile(
    opened: OpenVinoSession, before: int
) -> None:
    feed = {"x": np.zeros(1, np.float32)}
    for _ in range(before):
        opened.run(feed)
    found = {k.nodes[0]: k.seconds * 1e6 for k in opened.profile(feed, 3)}
    assert found == pytest.approx(WARM_US, abs=1.5)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        ([90.0, 1.0, 1.1, 0.9, 1.0], (0, 4)),
        ([90.0, 1.0, 8.0, 1.1, 0.9, 1.0, 1.1], (2, 6)),
        ([90.0, 1.0, 1.0, 1.0, 8.0, 1.1, 1.0, 1.1], (0, 3)),
        ([1.0, 9.0], (0, 1)),
    ],
)
def test_runs_far_apart_and_early_count_with_nothing_disturbed_in_between(
    seconds: list[float], wanted: tuple[int, int]
) -> None:
    assert module.undisturbed(seconds) == wanted


def test_an_engine_of_several_streams_is_profiled_in_one_that_counts_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, object]] = []

    class Core:
        def import_model(self, _: object, device: str, config: dict[str, object]) -> object:
            asked.append(config)
            return SimpleNamespace(create_infer_request=Request)

    monkeypatch.setattr(backend_module, "openvino_core", Core)
    backend = made(BackendOptions(threads=2, build={"streams": "2"}))
    artifact = EngineArtifact(("x",), (), (), b"").to_bytes()
    for profiled in (True, False):
        backend.open(artifact, profiled=profiled)
    assert [config["NUM_STREAMS"] for config in asked] == [1, 2]
