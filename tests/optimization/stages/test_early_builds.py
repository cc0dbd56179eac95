"""Engines that are built beside the reference and the corrections of INT8."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.api import OptimizeConfig, optimize_events
from precsearch.core.events import Event, StageStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Fidelity
from precsearch.optimization.stages.early_builds import wanted_early
from tests.graph.small_layers import GraphBuilder, linear
from tests.optimization.stages.early_backend import NAME, built, here

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
LONG_S = 60.0


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OptimizeConfig:
    b = GraphBuilder()
    hidden = b.op("Relu", linear(b, b.input([1, 64], name="x"), 64, 64))
    b.output(linear(b, hidden, 64, 64))
    onnx.save(b.model(), tmp_path / "model.onnx")
    samples = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    return OptimizeConfig(
        tmp_path / "model.onnx", tmp_path / "data.npz", tol=0.1, backend=NAME, threads=1
    )


def test_the_fp16_engine_is_built_while_int8_is_corrected(config: OptimizeConfig) -> None:
    found: list[Event] = []
    for event in optimize_events(replace(config, max_builds=4)):
        found.append(event)
        if isinstance(event, StageStarted) and event.stage == "correct":
            # No correction begins before this loop goes on.
            wait_until(lambda: len(built()) == 2)
    stages = [e.stage for e in found if isinstance(e, StageStarted)]
    assert stages.index("screen") < stages.index("correct") < stages.index("baseline")
    trials = [e.trial for e in found if isinstance(e, TrialFinished)]
    engines = {t.assignment for t in trials if t.proposal.fidelity is Fidelity.ENGINE}
    assert len(engines) >= 3
    assert any(a.keys_at(FP16) and not a.keys_at(INT8) for a in engines), "the search asks for it"
    assert len(built()) == len(set(built())), "no engine is built twice"


@pytest.mark.parametrize("change", [{"strategy": "uniform"}, {"precisions": (FP32, INT8)}])
def test_nothing_is_built_early_that_the_search_may_not_ask_for(
    config: OptimizeConfig, change: dict[str, object]
) -> None:
    events = optimize_events(replace(config, **change))  # type: ignore[arg-type]
    for event in events:
        if isinstance(event, StageStarted) and event.stage == "baseline":
            break
    events.close()
    assert len(built()) == 1


def wait_until(happens: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_early_engines_keep_clear_of_hazards() -> None:
    groups = tuple(LayerGroup(k, "node", (k,), (FP32, FP16, INT8)) for k in "ab")
    space = SearchSpace(groups)
    assert wanted_early(space, ()) == (Assignment.of({"a": FP16, "b": FP16}),)
    hazards = tuple(Prior(k, FP16, True, "FP16 excluded: it is") for k in "ab")
    assert wanted_early(space, hazards[:1]) == (Assignment.of({"b": FP16}),)
    assert wanted_early(space, hazards) == ()
    assert wanted_early(SearchSpace((LayerGroup("a", "node", ("a",), (FP32, INT8)),)), ()) == ()
