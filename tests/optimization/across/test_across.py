"""A search over ONNX Runtime and OpenVINO, whose times are made up until the last comparison."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from precsearch.cli.output.optimize import engine_lines
from precsearch.cli.output.page import Page
from precsearch.cli.progress.view import View, fold
from precsearch.core.errors import InputError, OptionError
from precsearch.core.events import (
    Event,
    FinalistJudged,
    FinalistsTimed,
    FinalistTime,
    RunStarted,
    SearchFinished,
    SearchStarted,
    StageStarted,
    TrialFinished,
    UniformEngine,
    Warned,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Measured, Measurement, Proposal, Trial
from precsearch.optimization.across.compared import EngineTimes
from precsearch.optimization.across.entrant import BestUniform, Entrant
from precsearch.optimization.across.run import engine_row
from precsearch.optimization.across.table_file import EngineTable
from precsearch.optimization.front.plan_at import front, plan_at
from precsearch.optimization.start import optimize_events
from precsearch.plan.plan import read_plan
from precsearch.report import tell
from precsearch.setup.config import EngineRow, OptimizeConfig, OptimizeResult
from tests.backends.ov.clocked_openvino import install
from tests.backends.ov.small_engines import made
from tests.cli.runs import latency
from tests.e2e.plugins.clocked_backend import here
from tests.hostile.situations.world import write_world


def ran(config: OptimizeConfig) -> tuple[list[Event], OptimizeResult]:
    result: list[OptimizeResult] = []

    def whole() -> Iterator[Event]:
        result.append((yield from optimize_events(config)))

    seen = list(whole())
    return seen, result[0]


@pytest.mark.slow
def test_the_fastest_of_two_engines_is_shipped_with_a_row_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino_telemetry", reason="comes with OpenVINO")
    write_world(tmp_path)
    here(tmp_path, monkeypatch)
    other = install(tmp_path, monkeypatch)
    config = OptimizeConfig(
        tmp_path / "model.onnx",
        tmp_path / "data.npz",
        tol=9.0,
        backend=f"clocked,{other}",
        threads=1,
        max_builds=8,
        output=tmp_path / "p.json",
        artifact=tmp_path / "m.xml",
    )
    events, result = ran(config)
    assert sum(isinstance(e, RunStarted) for e in events) >= 2
    stages = [e.detail for e in events if isinstance(e, StageStarted) and e.stage == "screen"]
    has_bf16 = Precision.BF16 in made().precisions
    assert stages == ["values that BF16 would get wrong"] * len(stages)
    assert bool(stages) is has_bf16
    rows = {row.backend: row for row in result.engines}
    assert list(rows) == ["clocked", other]
    # Made-up seconds: 1 ms in FP32 on the one, 40 us on the other.
    assert rows[other].fp32 == 1.0
    assert rows["clocked"].fp32 == pytest.approx(0.04, rel=0.2)
    assert rows[other].plan > 1.0  # type: ignore[operator]
    assert rows[other].uniform in ("int8", "bf16")
    assert rows[other].together
    assert sum(row.engines for row in rows.values()) <= 8
    assert read_plan(tmp_path / "p.json").recipe.backend == other
    assert {p.name for p in tmp_path.glob("m.*")} == {"m.xml", "m.bin"}
    for name in rows:
        assert read_plan(tmp_path / "p.precsearch" / f"{name}.plan.json").recipe.backend == name
    assert result.summary[0] == f"{other} is the fastest of 2 engines"
    told = tell([tmp_path / "p.precsearch"])
    assert told.engines == EngineTable(other, result.engines)
    assert told.plan is not None
    assert told.plan.recipe.backend == other
    _, points = front(tmp_path / "p.precsearch")
    assert points[0].backend == other
    again = plan_at(tmp_path / "p.precsearch", 9.0, tmp_path / "at.json")
    assert (again.backend, again.plan.recipe.backend) == (other, other)
    assert again.plan.recipe == read_plan(tmp_path / "p.precsearch" / f"{other}.plan.json").recipe


def _told(events: Sequence[Event], config: OptimizeConfig) -> Entrant:
    one = Entrant(config)

    def stream() -> Generator[Event, None, OptimizeResult]:
        yield from events
        return OptimizeResult(None, None, None, met=False, interrupted=False, summary=())

    list(one.run(stream()))
    return one


def test_the_best_uniform_engine_is_the_fastest_within_the_bound_as_timed_beside_the_plan(
    tmp_path: Path,
) -> None:
    config = OptimizeConfig(tmp_path / "m.onnx", None, output=tmp_path / "p.json")
    careful = Assignment.of({"a": Precision.INT8, "b": Precision.INT8, "c": Precision.BF16})
    half = Assignment.of(dict.fromkeys("abc", Precision.BF16))
    over = Assignment.of(dict.fromkeys("abc", Precision.INT8))
    mixed = Assignment.of({"a": Precision.INT8})
    uniform = tuple(
        UniformEngine(p, a)
        for p, a in ((Precision.INT8, careful), (Precision.BF16, half), (Precision.INT8, over))
    )
    started = SearchStarted("", "auto", 3, 3, Bound(1e-2), Budget(), 0.01, uniform=uniform)
    rows = ((half, 0.005, 0.6), (careful, 0.009, 0.62), (over, 0.5, 0.3), (mixed, 0.001, 0.4))
    trials = [
        TrialFinished(
            Trial(n, Proposal(a), Measured(Measurement(Accuracy(loss, loss), latency(ratio)))), n, 1
        )
        for n, (a, loss, ratio) in enumerate(rows, 1)
    ]
    assert _told(trials[:1], config).best_uniform() is None
    in_the_search = _told([started, *trials], config).best_uniform()
    assert in_the_search == BestUniform(Precision.BF16, 0.6)
    again = FinalistsTimed((FinalistTime(2, 0.58, 0.57, 0.59), FinalistTime(1, 0.61, 0.6, 0.62)))
    beside = _told([started, *trials, again], config).best_uniform()
    assert beside == BestUniform(Precision.INT8, 0.58)
    judged = [FinalistJudged(2, 0.02, 0.58, passed=False), FinalistJudged(1, 0.006, 0.61, True)]
    held_out = _told([started, *trials, again, *judged], config).best_uniform()
    assert held_out == BestUniform(Precision.BF16, 0.61), "what misses the holdout does not pass"


@pytest.mark.parametrize(("asked", "speed"), [({}, 0.5), ({"a": Precision.INT8}, 0.4)])
def test_a_plan_that_is_fp32_has_the_speed_of_fp32(
    tmp_path: Path, asked: dict[str, Precision], speed: float
) -> None:
    evidence = SimpleNamespace(latency=latency(1.0), accuracy=Accuracy(0.0, 0.0))
    plan: Any = SimpleNamespace(
        recipe=SimpleNamespace(assignment=Assignment.of(asked)), evidence=evidence
    )
    one = Entrant(OptimizeConfig(tmp_path / "m.onnx", None, backend="onnxruntime"))
    one.result = OptimizeResult(plan, None, None, met=True, interrupted=False, summary=())
    times = EngineTimes({"onnxruntime": 2.0, "openvino": 1.0}, {"onnxruntime": 2.5}, together=True)
    assert engine_row(one, times).plan == speed


def test_one_engine_twice_or_an_unknown_one_is_refused(tmp_path: Path) -> None:
    write_world(tmp_path)
    plain = OptimizeConfig(tmp_path / "model.onnx", tmp_path / "data.npz", output=tmp_path / "p")
    for names, said in (
        ("onnxruntime,onnxruntime", "name it once"),
        ("onnxruntime,x", "no backend"),
    ):
        config = OptimizeConfig(plain.model, plain.data, backend=names, output=plain.output)
        with pytest.raises(OptionError, match=said):
            ran(config)
    assert issubclass(OptionError, InputError)


def test_the_table_has_a_line_an_engine_and_says_how_it_was_timed() -> None:
    rows = (
        EngineRow("onnxruntime", 1.0, "int8", 1.5, 1.7, 0.0123, 9, together=True),
        EngineRow("openvino", 0.82, "", None, 2.25, 0.0099, 12, together=True),
        EngineRow("broken", None, "", None, None, None, 0, together=True),
    )
    text = "\n".join(line.plain for line in engine_lines(rows, Page(80)))
    assert "onnxruntime  1.00x  1.50x int8    1.70x  0.0123  9" in text
    assert "openvino     0.82x  -             2.25x  0.0099  12" in text
    assert "timed in the same rounds" in text
    assert engine_lines((), Page(80)) == []


def test_a_live_view_begins_anew_with_the_next_engine() -> None:
    view = View()
    for event in (
        RunStarted({}, "m.onnx", "1"),
        Warned("first"),
        SearchFinished("builds", 3, 1.0),
        RunStarted({}, "m.onnx", "1"),
    ):
        view = fold(view, event)
    assert view.warnings == ()
    assert view.builds == 0
    assert json.dumps(view.model) == '"m.onnx"'
