"""`inspect` knows how much of the FP32 time can be decided: from a run, or timed now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from precsearch import api
from precsearch.api import Inspection
from precsearch.cli.output.inspection_values import inspect_fields
from precsearch.cli.output.page import Page
from precsearch.cli.output.work import time_of
from precsearch.codec import dumps, unstructure
from precsearch.core.events import Event, SearchStarted, TrialFinished
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import (
    Accuracy,
    Latency,
    Measured,
    Measurement,
    Outcome,
    Proposal,
    Trial,
)
from tests.e2e.plugins.clocked_backend import here
from tests.hostile.situations.world import journal_bytes, write_world

LATENCY = Latency(2e-3, 1.9e-3, 2.1e-3, 1.0, 1.0, 1.0)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and its data, in the working directory."""
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspected(folder: Path, **options: object) -> Inspection:
    return api.inspect(folder / "model.onnx", backend="onnxruntime", **options)  # type: ignore[arg-type]


def keep_run(world: Path, shares: dict[str, float], name: str = "model.precsearch") -> Path:
    """A run whose FP32 engine took 2 ms, so much of them in each group."""
    run = world / name
    run.mkdir()
    seconds = {key: share * LATENCY.seconds for key, share in shares.items()}
    found: Outcome = Measured(Measurement(Accuracy(0.0, 0.0), LATENCY, seconds))
    events: list[Event] = [
        SearchStarted("a CPU, 1 thread", "auto", 2, 4, Bound(1e-2), Budget(), 0.013),
        TrialFinished(Trial(0, Proposal(Assignment()), found), 1, 1.0),
    ]
    lines = [dumps(unstructure(e, Event)).encode() + b"\n" for e in events]
    (run / "journal.jsonl").write_bytes(journal_bytes(world) + b"".join(lines))
    return run


def test_a_run_beside_the_model_gives_the_fp32_time_its_noise_and_its_source(world: Path) -> None:
    conv, matmul = (g.key for g in inspected(world).space.free)
    keep_run(world, {conv: 0.6, matmul: 0.3, "": 0.1})
    found = inspected(world)
    assert found.decidable_time == pytest.approx((0.9, 0.9, 0.9))
    ((label, said),) = time_of(found, Page(200))
    assert label == "time"
    assert "FP32 2 ms an inference, 1.8 ms (90 %) to decide" in said
    assert "from model.precsearch, one profile; timing noise ±1.3 %; a CPU, 1 thread" in said


def test_a_run_of_another_model_beside_it_is_left_alone(world: Path) -> None:
    conv, matmul = (g.key for g in inspected(world).space.free)
    run = keep_run(world, {conv: 0.6, matmul: 0.4})
    journal = run / "journal.jsonl"
    digest = json.loads(journal.read_text().splitlines()[0])["identity"]["model"]
    journal.write_text(journal.read_text().replace(digest, "00" * 32))
    found = inspected(world)
    assert found.fp32 is None
    assert "not measured" in time_of(found, Page())[0][1]


def test_json_has_the_seconds_of_each_group(world: Path) -> None:
    conv, matmul = (g.key for g in inspected(world).space.free)
    run = keep_run(world, {conv: 0.25, matmul: 0.75}, "elsewhere")
    assert inspect_fields(inspected(world))["fp32"] is None
    fields = json.loads(dumps(inspect_fields(inspected(world, run=run))))
    seconds = {g["key"]: g["fp32_seconds"] for g in fields["groups"]}
    assert seconds[conv] == pytest.approx(5e-4)
    assert seconds[matmul] == pytest.approx(1.5e-3)
    assert fields["fp32"]["run"] == str(run)
    assert fields["fp32"]["decidable"] == pytest.approx(1.0)
    assert fields["fp32"]["noise"] == 0.013


def test_fields_of_inspect_are_documented(world: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/json.md").read_text(encoding="utf-8")
    section = page.partition("## `inspect --json`")[2].partition("<!--")[0]
    keep_run(world, {"": 1.0})
    fields = inspect_fields(inspected(world))
    inner = [fields["fp32"], fields["work"], *fields["groups"]]  # type: ignore[misc]
    names = {name for record in inner if isinstance(record, dict) for name in record}
    assert [n for n in {*fields, *names} - {"type"} if f"`{n}`" not in section] == []


def test_a_profile_times_the_fp32_engine_now_and_leaves_no_file(
    world: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path_factory.mktemp("plugin"), monkeypatch)
    before = sorted(world.iterdir())
    found = api.inspect("model.onnx", backend="clocked", data="data.npz", profile=True, threads=1)
    assert sorted(world.iterdir()) == before
    assert found.fp32 is not None
    assert found.fp32.latency.seconds == 1e-3
    assert len(found.fp32.profiles) == 3
    assert sum(found.fp32.groups.values()) == pytest.approx(1e-3)
    # Conv with Relu and MatMul are a kernel each, Flatten is one that nobody decides.
    mean, low, high = found.decidable_time or (0.0, 0.0, 0.0)
    assert 0.5 < mean < 1
    assert low == high == pytest.approx(mean)
    assert "timed now" in time_of(found, Page(200))[0][1]
