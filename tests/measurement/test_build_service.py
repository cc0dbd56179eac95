"""The FP32 engine is built while references and ranges are made; neither outlives the other."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend.facts import COMPILED
from precsearch.core.errors import WorkerError
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity
from precsearch.data import input_specs, load
from precsearch.executors.candidates import measurement_config
from precsearch.executors.client import MeasurementClient
from precsearch.executors.process import Worker
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.measurement.build_service import Engine
from precsearch.measurement.place import Place
from precsearch.measurement.reference_service import Announce
from precsearch.measurement.service import Candidate, MeasurementService, ReferenceSplit
from precsearch.optimization.stages.early_builds import built_beside
from precsearch.reference.session import reference_outputs
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.target import open_target
from tests.e2e.command import DATA, MODEL, few_samples

LONG_S = 600.0


class Slow:
    """Builds an engine once there is the file that it is named after."""

    def __init__(self, announce: Announce) -> None:
        announce("ready")

    def engine(self, candidate: Candidate) -> Engine:
        while not Path(candidate.digest).exists():
            time.sleep(0.01)
        return Engine(b"built", ())


def client_of(worker: Worker[Slow]) -> MeasurementClient:
    return MeasurementClient(worker)  # type: ignore[arg-type]


def named(path: Path) -> Candidate:
    return Candidate(b"", str(path), {}, {})


def test_the_caller_goes_on_while_it_is_built(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with Worker(Slow, (), limit_s=LONG_S) as worker:
        with built_beside(client_of(worker), named(done)) as builds:
            done.touch()
            assert builds.baseline.result(LONG_S).artifact == b"built"
        assert worker.call(Slow.engine, named(done)).artifact == b"built", "the worker goes on"


def test_a_caller_that_leaves_early_ends_the_build(tmp_path: Path) -> None:
    start = time.monotonic()
    with Worker(Slow, (), limit_s=LONG_S) as worker:
        with (
            pytest.raises(ValueError, match="no data"),
            built_beside(client_of(worker), named(tmp_path / "never")) as builds,
        ):
            raise ValueError("no data")
        with pytest.raises(WorkerError):
            builds.baseline.result(LONG_S)
    assert time.monotonic() - start < LONG_S / 2


def test_a_service_accepts_settings_that_are_known_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that ramps up would have timing wait for it.
    monkeypatch.setattr(OnnxRuntimeBackend, "facts", replace(COMPILED, clock_ramps_up=False))
    built: list[bytes] = []
    build = OnnxRuntimeBackend.build

    def counted(self: OnnxRuntimeBackend, model: bytes) -> bytes:
        built.append(model)
        return build(self, model)

    monkeypatch.setattr(OnnxRuntimeBackend, "build", counted)
    target = open_target(read_model(MODEL), "onnxruntime", None, "group", 1)
    data = load(few_samples(tmp_path / "few.npz", 4), input_specs(target.graph.inputs))
    scales = RangeScales({}, target.scheme)
    plain = Lowering(target.graph, target.space, target.scheme, scales).lower(Assignment())
    config = OptimizeConfig(MODEL, DATA, 1e-2, "rel-l2", threads=1)
    early = measurement_config(config, target, plain, ReferenceSplit(data, ()))
    service = MeasurementService(Place(), early, lambda _: None)
    baseline: Candidate = early.baseline
    assert service.engine(baseline).artifact
    scored = ReferenceSplit(data, reference_outputs(str(MODEL), data.feeds))
    service.adopt(measurement_config(config, target, plain, scored))
    found = service.measure(baseline, Fidelity.ENGINE)
    assert found.accuracy.loss < 1e-5
    assert len(found.accuracy.per_sample) == 4
    assert len(built) == 1
