"""A search from Python with everything in memory, and what its result contains."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.api.notebook import Bar
from precsearch.core.events import Event, SearchStarted, StageStarted, TrialFinished
from precsearch.core.problem import Bound, Budget
from precsearch.search.journal import read
from tests.cli.runs import engine
from tests.e2e.plugins.clocked_backend import here
from tests.hostile.situations.world import model

FEEDS = np.random.default_rng(1).normal(size=(12, 1, 8, 8)).astype(np.float32)
EVENTS: list[Event] = []


def rel(outputs: list[dict[str, np.ndarray]], reference: list[dict[str, np.ndarray]]) -> float:
    pairs = [(o["y"], r["y"]) for o, r in zip(outputs, reference, strict=True)]
    off = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
    return float(np.sqrt(off / sum(float((b**2).sum()) for _, b in pairs)))


def far(outputs: list[dict[str, np.ndarray]], reference: list[dict[str, np.ndarray]]) -> float:
    return 1.0 + 0.0 * len(outputs) * len(reference)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("result")
    with pytest.MonkeyPatch.context() as patch:
        here(folder, patch)
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def result(place: Path) -> precsearch.Result:
    return precsearch.optimize(
        model(),
        ({"x": row} for row in FEEDS),
        tol=0.5,
        metric=rel,
        pin={"op:MatMul": "fp32"},
        backend="clocked",
        threads=1,
        on_event=EVENTS.append,
    )


def test_the_plan_is_beside_the_model_and_on_disk(result: precsearch.Result, place: Path) -> None:
    assert result.plan == precsearch.load_plan(place / "small.plan.json")
    assert (
        result.model_path.is_relative_to(place / "small.precsearch/given")
        or (place / result.model_path).is_file()
    )
    assert result.plan.criteria.metric == "test_optimize.py:rel"
    assert {g.precision.value for g in result.plan.recipe.groups if g.kind == "matmul"} == {"fp32"}
    assert type(EVENTS[0]).__name__ == "RunStarted"


def test_a_result_has_its_trials_its_front_and_its_model(result: precsearch.Result) -> None:
    engines = [t for t in result.trials if t.engine]
    assert sum(t.chosen for t in result.trials) == 1
    assert {t.number for t in result.front} <= {t.number for t in engines}
    ratios = [t.ratio for t in result.front]
    assert ratios == sorted(ratios, key=lambda r: r or 0.0)
    assert result.speedup > 1
    assert result.loss <= 0.5
    onnx.checker.check_model(result.model)
    assert any(n.op_type == "QuantizeLinear" for n in result.model.graph.node)
    built = result.save("fast.onnx")
    assert built.sha256 == result.plan.recipe.materialised_sha256


def test_a_result_shows_itself(result: precsearch.Result) -> None:
    shown = repr(result)
    assert len(shown) < 120
    assert "FP32's speed" in shown
    html = result._repr_html_()
    assert html is not None
    assert "<svg" in html
    assert "FP32's" in html


def test_the_chart_of_the_trials_is_an_altair_chart(result: precsearch.Result) -> None:
    altair = pytest.importorskip("altair")
    chart = result.chart()
    assert isinstance(chart, altair.LayerChart | altair.Chart)
    assert len(chart.to_dict()["datasets"]["trials"]) == len(result.trials)


def test_trials_as_a_table_need_pandas(result: precsearch.Result) -> None:
    try:
        import pandas
    except ImportError:
        with pytest.raises(precsearch.OptionError, match="pip install pandas"):
            result.to_frame()
    else:
        assert isinstance(result.to_frame(), pandas.DataFrame)
        assert len(result.to_frame()) == len(result.trials)


def test_a_report_is_written_from_the_result(result: precsearch.Result, place: Path) -> None:
    page = precsearch.save_report(result, "page.html")
    assert "<html" in page.read_text(encoding="utf-8")
    with pytest.raises(precsearch.OutputError, match="exists already"):
        precsearch.save_report(result, "page.html")
    other = precsearch.save_report(result, "two.html", other=result.plan_path)
    assert "<h1>" in other.read_text(encoding="utf-8")
    journal = result.run_path / "journal.jsonl"
    several = precsearch.save_report(result, "three.html", other=[result.plan_path, journal])
    assert "beside each other" in several.read_text(encoding="utf-8")


def test_inspect_and_diagnose_take_what_is_in_memory(place: Path) -> None:
    found = precsearch.inspect(model(), FEEDS, backend="onnxruntime", exclude=["op:Conv"])
    assert [g.kind for g in found.space.free] == ["matmul"]
    seen = precsearch.diagnose(model(), FEEDS, precision="int8", backend="onnxruntime")
    assert seen.samples == 12
    assert seen.loss > 0


def test_each_bound_and_metric_has_a_result_and_nothing_is_built_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    results = precsearch.optimize_each(
        model(),
        ({"x": row} for row in FEEDS),
        bounds={"rel-l2": [0.5, 1e-9], rel: 0.5},
        backend="clocked",
        strategy="uniform",
        threads=1,
        corrections=(),
    )
    named = next(metric for metric, _ in results if metric != "rel-l2")
    assert named.endswith("test_optimize.py:rel")
    assert list(results) == [("rel-l2", 1e-9), ("rel-l2", 0.5), (named, 0.5)]
    plans = [r.plan_path.name for r in results.values()]
    assert plans == [
        f"small.{n}.plan.json" for n in ("rel-l2.tol1e-09", "rel-l2.tol0.5", "rel.tol0.5")
    ]
    tight, wide, other = results.values()
    assert tight.speedup == 1.0 < wide.speedup
    assert wide.plan.recipe == other.plan.recipe
    assert wide.loss == pytest.approx(other.loss)
    for later in (wide, other):
        trials = [e.trial for e in read(later.run_path) if isinstance(e, TrialFinished)]
        assert {t.proposal.reason.partition(":")[0] for t in trials} == {
            "measured by an earlier run"
        }


def test_several_bounds_and_a_single_bound_exclude_each_other(place: Path) -> None:
    with pytest.raises(precsearch.OptionError, match="metrics and bounds together"):
        precsearch.optimize_each(model(), bounds={"rel-l2": 0.1}, tol=0.1)
    with pytest.raises(precsearch.OptionError, match="names a tolerance twice"):
        precsearch.optimize_each(model(), bounds={"rel-l2": [0.1, 0.1]})
    with pytest.raises(precsearch.OptionError, match="this search's own, too"):
        precsearch.optimize(model(), metric="rel-l2", metrics=["cosine"])


def test_a_bound_that_no_engine_meets_has_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"backend": "clocked", "strategy": "uniform", "threads": 1}
    options["corrections"] = ()
    found = precsearch.optimize_each(model(), FEEDS, bounds={far: 0.5, "rel-l2": 0.5}, **options)
    assert list(found) == [("rel-l2", 0.5)]
    with pytest.raises(precsearch.UnmetError):
        precsearch.optimize_each(
            model(), FEEDS, bounds={far: 0.5}, output="other.plan.json", **options
        )


def test_mistakes_in_options_are_reported_before_any_work(place: Path) -> None:
    for options, said in (
        ({"precisions": ["fp12"]}, "there is no precision 'fp12'"),
        ({"exclude": "op:Conv"}, r"exclude takes a list of patterns"),
        ({"pin": {"op:Conv": "fp12"}}, "a pin is PATTERN=PRECISION"),
    ):
        with pytest.raises(precsearch.OptionError, match=said):
            precsearch.optimize(model(), FEEDS, **options)


def test_an_exception_of_a_callback_ends_the_search(place: Path) -> None:
    def stop(event: Event) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        precsearch.optimize(
            model(), FEEDS, backend="clocked", output="other.json", threads=1, on_event=stop
        )
    assert not (place / "other.json").exists()


def test_the_bar_of_a_notebook_says_how_much_of_the_budget_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bar, "_show", lambda self: None)
    bar = Bar(8, None)
    bar(StageStarted("reference"))
    assert bar.text.startswith("precsearch: reference")
    bar(SearchStarted("a CPU", "auto", 2, 4, Bound(1e-2), Budget(8), 0.01))
    bar(TrialFinished(engine(0, 3, 5e-3, 0.5), 2, 4.0))
    bar(TrialFinished(engine(1, 3, 5e-2, 0.2), 4, 6.0))
    assert bar.share == 0.5
    assert "4 engines in 6.0s, best so far 2.00x" in bar.text
