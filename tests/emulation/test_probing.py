"""The search scores proxies of a backend that compiles by one session, without lowering."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend.facts import COMPILED
from precsearch.core.errors import BuildError
from precsearch.core.events import TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal
from precsearch.data import input_specs, load
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.measurement.open import open_service
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementService, ReferenceSplit
from precsearch.optimization.stages.prepare import proxy_of
from precsearch.reference.session import reference_outputs
from precsearch.search.evaluator import evaluators
from precsearch.search.journal import read
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.target import Target, open_target
from tests.e2e.command import DATA, MODEL, few_samples
from tests.graph.small_graphs import residual_net

FP32, INT8 = Precision.FP32, Precision.INT8


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeBackend, "facts", COMPILED)


def opened() -> Target:
    return open_target(read_model(MODEL), "onnxruntime", None, "group", 1)


def lowering_of(target: Target, feeds: object) -> Lowering:
    plain = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    tensors = quantizable(target.graph, target.scheme, target.space)
    names = tuple(sorted(frozenset().union(*tensors.values())))
    calibration = Calibration(plain.lower(Assignment()).model, "", names)
    ranges = collect_ranges(calibration, feeds)  # type: ignore[arg-type]
    return Lowering(
        target.graph, target.space, target.scheme, RangeScales(ranges, target.scheme), target.form
    )


def test_an_engine_that_opens_at_once_is_its_own_proxy() -> None:
    target = opened()
    lowering = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    assert proxy_of(target, lowering) is None


@pytest.mark.usefixtures("compiling")
def test_the_score_of_the_proxy_is_near_that_of_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precsearch.measurement.probes._SECONDS", 1e6)  # all samples, however slow
    target = opened()
    specs = input_specs(target.graph.inputs)
    data = load(few_samples(tmp_path / "few.npz", 40), specs)
    lowering = lowering_of(target, data.feeds)
    graph = proxy_of(target, lowering)
    assert graph is not None
    scored = ReferenceSplit(data, reference_outputs(str(MODEL), data.feeds))
    config = OptimizeConfig(MODEL, DATA, 1e-2, "rel-l2", threads=1)
    setup = measurement_config(config, target, lowering.lower(Assignment()), scored)
    service = open_service(Place(), setup, lambda _: None)
    assert isinstance(service, MeasurementService)
    with pytest.raises(BuildError, match="no proxy"):
        service.probe(graph.request(Assignment()))
    service = MeasurementService(Place(), replace(setup, proxy=graph.proxy), lambda _: None)
    free = [g for g in target.space.free if not g.passive]
    for assignment in (
        Assignment(),
        target.space.uniform(INT8),
        Assignment.of({free[0].key: INT8}),
    ):
        probed = service.probe(graph.request(assignment))
        measured = service.measure(candidate(lowering.lower(assignment)), Fidelity.PROXY)
        assert probed.latency is None
        assert probed.accuracy.loss == pytest.approx(measured.accuracy.loss, rel=0.3, abs=1e-6)
        assert len(probed.accuracy.per_sample) == 32, "a metric of distances needs half of 64"


def test_a_probed_proposal_is_not_lowered() -> None:
    def lower(_: Assignment) -> Lowered:
        raise AssertionError("lowered")

    def measure(_: object, __: Fidelity) -> Measurement:
        raise AssertionError("measured")

    asked: list[Assignment] = []
    good = Measurement(Accuracy(0.0, 0.0))

    def probe(assignment: Assignment) -> Measurement:
        asked.append(assignment)
        return good

    (evaluate,) = evaluators(lower, [measure], probes=[probe])
    wanted = Assignment.of({"g": INT8})
    found = evaluate(Proposal(wanted, Fidelity.PROXY))
    assert (found.outcome, found.model_digest, asked) == (Measured(good), "", [wanted])
    assert evaluate(Proposal(wanted)).outcome.stage == "lower"  # type: ignore[union-attr]


@pytest.mark.usefixtures("compiling")
def test_a_search_on_a_compiling_backend_uses_the_proxy(tmp_path: Path) -> None:
    onnx.save(residual_net(), tmp_path / "model.onnx")
    plan = precsearch.optimize(
        tmp_path / "model.onnx",
        tol=1e-3,
        threads=1,
        max_builds=4,
        output=tmp_path / "p.json",
        run_dir=tmp_path / "run",
    ).plan
    proxies = [t for t in plan.evidence.trials if t.fidelity == "proxy"]
    assert proxies
    assert all(t.loss is not None and np.isfinite(t.loss) for t in proxies)
    events = read(tmp_path / "run")
    trials = [e.trial for e in events if isinstance(e, TrialFinished)]
    digests = {t.proposal.fidelity: t.model_digest for t in trials}
    assert digests[Fidelity.PROXY] == "" != digests[Fidelity.ENGINE]
