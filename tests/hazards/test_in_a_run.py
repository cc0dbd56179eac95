"""Screening in a run: its stage, its file, its reasons in the plan; `inspect`; nothing for INT8."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest

from precsearch.api import OptimizeConfig, inspect, optimize_events
from precsearch.cli.output.inspect import inspect_lines
from precsearch.cli.output.page import Page
from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError
from precsearch.core.events import BatchProposed, StageStarted
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Prior, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.executors.client import ReferenceClient
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.hazards.collect import Screening, screen
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.optimization.explanation.explain import explain_groups, ledger
from precsearch.optimization.stages.screen import screened
from precsearch.plan.plan import read_plan
from precsearch.search.journal import read
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target
from tests.e2e.command import environment, run
from tests.graph.small_layers import GraphBuilder, layer_norm, linear
from tests.hazards.half_backend import install

FP32, BF16, FP16, INT8 = Precision.FP32, Precision.BF16, Precision.FP16, Precision.INT8


@pytest.fixture
def model(tmp_path: Path) -> Path:
    b = GraphBuilder()
    x = b.op("Mul", linear(b, b.input([1, 64], name="x"), 64, 64), b.const(120.0))
    b.output(linear(b, layer_norm(b, x, 64), 64, 8))
    onnx.save(b.model(), tmp_path / "norm.onnx")
    samples = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    return tmp_path / "norm.onnx"


@pytest.mark.parametrize("backend", ["half", "compiled"])
def test_a_run_starts_from_its_hazards_and_keeps_them(model: Path, backend: str) -> None:
    folder = model.parent
    done = searched(model, backend)
    assert done.returncode == 0, done.stderr
    events = list(read(folder / "norm.precsearch"))
    assert "screen" in [e.stage for e in events if isinstance(e, StageStarted)]
    assert list((folder / "norm.precsearch").glob("screen-*.json"))
    proposals = [p for e in events if isinstance(e, BatchProposed) for p in e.proposals]
    keys = {key for p in proposals for key in p.assignment}
    spared = [keys - set(p.assignment) for p in proposals if p.assignment]
    assert set() in spared, "FP16 everywhere is tried"
    reasons = {g.key: g.reason for g in read_plan(folder / "norm.plan.json").evidence.groups}
    hazardous = {key for key, reason in reasons.items() if "FP16 excluded: " in reason}
    assert hazardous
    assert hazardous in spared, "and FP16 less the hazards"


def test_fp16_that_surrounds_int8_is_screened_for(model: Path) -> None:
    b = GraphBuilder()
    large = b.op("Mul", b.input([1, 64], name="x"), b.const(1e6))
    b.output(linear(b, linear(b, large, 64, 64), 64, 64))
    onnx.save(b.model(), model)
    done = searched(model, "by-name", "--precisions", "fp32,int8")
    assert done.returncode == 0, done.stderr
    events = list(read(model.parent / "norm.precsearch"))
    (looked,) = (e for e in events if isinstance(e, StageStarted) and e.stage == "screen")
    assert looked.detail == "values that FP16 would get wrong"
    plan = read_plan(model.parent / "norm.plan.json")
    assert all("INT8 excluded: it reads tensor " in g.reason for g in plan.evidence.groups)


def searched(model: Path, backend: str, *more: str) -> subprocess.CompletedProcess[str]:
    """A search on one of the backends for tests."""
    folder = model.parent
    install(folder)
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(folder)
    options = (
        "--backend",
        backend,
        "--strategy",
        "uniform",
        "--threads",
        "1",
        "--no-corrections",
        *more,
    )
    return run("optimize", model, "--data", folder / "data.npz", *options, cwd=folder, env=env)


def test_a_device_that_is_missing_is_said_before_anything_is_computed(model: Path) -> None:
    done = searched(model, "elsewhere")
    assert done.returncode == 2, done.stderr
    assert "error: no device is here" in done.stderr
    assert "reference" not in done.stderr + done.stdout


class Direct:
    """A worker that runs what it is asked here."""

    def __init__(self, error: ModelError | None = None) -> None:
        self.calls = 0
        self.error = error

    def screen(self, asked: Screening, feeds: Sequence[Feed]) -> ScreenStatistics:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return screen(asked, feeds)


def test_statistics_are_kept_for_a_resume(model: Path, tmp_path: Path) -> None:
    config = OptimizeConfig(model=model, data=model.parent / "data.npz")
    target = open_target(read_model(model), "onnxruntime", None, "group", 1)
    space = group(target.graph, target.scheme, frozenset({FP32, FP16}))
    target, inputs = replace(target, space=space), open_inputs(config, target.graph)
    worker = Direct()

    def priors() -> tuple[Prior, ...]:
        found, said = screened(target, inputs, cast(ReferenceClient, worker), tmp_path)
        assert said == ()
        return found

    first = priors()
    assert first
    assert priors() == first
    assert worker.calls == 1
    (stored,) = tmp_path.glob("screen-*.json")
    for damaged in ("{", "[]", '{"tensors": {"x": [1]}, "peaks": {}}'):
        stored.write_text(damaged)
        worker.calls = 0
        assert priors() == first
        assert worker.calls == 1
    stored.unlink()
    failing = cast(ReferenceClient, Direct(ModelError("screening failed: no")))
    found, said = screened(target, inputs, failing, tmp_path)
    assert (found, said) == (
        (),
        ("searching without hazards of the data: screening failed: no",),
    )
    assert not stored.exists()


def test_a_search_for_int8_does_not_screen(model: Path) -> None:
    folder = model.parent
    config = OptimizeConfig(
        model=model, data=folder / "data.npz", backend="onnxruntime", run_dir=folder / "run"
    )
    stages: list[str] = []
    events = optimize_events(config)
    for event in events:
        if isinstance(event, StageStarted):
            stages.append(event.stage)
        if stages[-1:] == ["baseline"]:
            events.close()
            break
    assert stages == ["reference", "calibrate", "correct", "baseline"]
    assert not list((folder / "run").glob("screen-*"))


def test_inspect_shows_hazards(model: Path) -> None:
    data = model.parent / "data.npz"
    shown = run("inspect", model, "--data", data)
    assert shown.returncode == 0, shown.stderr
    assert "would start without FP16, judged by 8 samples" in " ".join(shown.stdout.split())
    assert "FP16 excluded: absmax " in shown.stdout


def test_hazards_of_an_inspection(model: Path) -> None:
    data, calm = model.parent / "data.npz", model.parent / "calm.npz"
    np.savez(calm, x=np.full((4, 64), 1e-3, np.float32))
    assert inspect(model).hazards == ()
    found = inspect(model, data=data, backend="onnxruntime")
    assert found.samples == 8
    assert FP16 not in found.space.precisions, "what FP16 would meet on another engine"
    assert {p.precision for p in found.hazards} == {FP16}
    said = "".join(line.plain for line in inspect_lines(inspect(model, data=calm), Page()))
    assert "no rule finds a hazard of FP16 in 4 samples" in said


def test_an_inspection_judges_by_the_formats_that_a_search_may_choose(tmp_path: Path) -> None:
    """On an engine for GPUs, of which none needs to be here."""
    b = GraphBuilder()
    x = b.op("Add", linear(b, b.input([1, 64], name="x"), 64, 64), b.const(1000.0))
    b.output(linear(b, b.op("Sub", x, b.const(1000.0)), 64, 8))
    path, data = tmp_path / "shifted.onnx", tmp_path / "data.npz"
    onnx.save(b.model(), path)
    np.savez(data, x=np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32))
    found = {
        name: inspect(path, data=data, backend="tensorrt-rtx", precisions=(FP32, *below))
        for name, below in {"bf16": (BF16,), "both": (BF16, FP16), "int8": (INT8,)}.items()
    }
    assert [i.judged for i in found.values()] == [(BF16,), (BF16, FP16), ()]
    assert {p.precision for p in found["bf16"].hazards} == {BF16}
    assert "cancel" in found["bf16"].hazards[0].reason
    (line,) = (
        line.plain
        for line in inspect_lines(found["bf16"], Page())
        if "would start without BF16, judged by 8 samples" in line.plain
    )
    assert "FP16" not in line


def test_without_fp16_no_hazard_is_listed(model: Path) -> None:
    found = inspect(
        model, data=model.parent / "data.npz", precisions=(FP32, INT8), backend="onnxruntime"
    )
    assert found.hazards == ()


def test_a_long_list_is_cut(model: Path) -> None:
    many = tuple(Prior(f"g{i}", FP16, True, "FP16 excluded: it is") for i in range(23))
    lines = [line.plain for line in inspect_lines(replace(inspect(model), hazards=many), Page())]
    assert sum("FP16 excluded: it is" in line for line in lines) == 20
    assert "3 more" in lines[-1]
    assert any("judged by the constants alone" in line for line in lines)


def _trial(space: SearchSpace, chosen: Assignment, loss: float) -> Trial:
    space.check(chosen)
    accuracy = Accuracy(loss, loss)
    return Trial(0, Proposal(chosen, Fidelity.PROXY), Measured(Measurement(accuracy)))


RULE = "FP16 excluded: absmax 1.0e+10 of tensor 'a' > 65504"


@pytest.mark.parametrize(
    ("asked", "loss", "said"),
    [
        (FP32, None, lambda r: r.startswith(RULE)),
        (FP32, 0.5, lambda r: r.startswith(f"{RULE}; alone in fp16 it costs 5.00e-01")),
        (FP32, 1e-4, lambda r: r.startswith("the fastest engine") and r.endswith(RULE)),
        (FP16, 1e-4, lambda r: f"overrules a rule: {RULE}" in r),
    ],
)
def test_the_plan_says_which_rule_and_whether_it_was_overruled(
    asked: Precision, loss: float | None, said: Callable[[str], bool]
) -> None:
    space = SearchSpace((LayerGroup("a", "node", ("a",), (FP32, FP16)),))
    problem = Problem(space, Goal(Bound(1e-2)), priors=(Prior("a", FP16, True, RULE),))
    trials = [] if loss is None else [_trial(space, Assignment.of({"a": FP16}), loss)]
    chosen = Assignment.of({"a": asked})
    (found,) = explain_groups(problem, chosen, {"a": asked}, ledger(trials))
    assert said(found.reason), found.reason
