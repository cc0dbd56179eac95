"""Outputs and inputs as they are: sizes that depend on data, NaN, infinities, data without content.

ONNX Runtime computes; the clock is made up, so that INT8 is faster whatever the machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.output.diagnose import lines
from precsearch.cli.output.diagnosis_values import fields
from precsearch.cli.output.page import Page
from precsearch.cli.progress.trial_table import why
from precsearch.cli.progress.view import Verdict, View
from precsearch.core.errors import DataError
from precsearch.core.events import Event, TrialFinished
from precsearch.core.mismatch import SIZE, sizes_alone
from precsearch.core.precision import Precision
from precsearch.core.trial import Accuracy, Fidelity
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.reference.session import reference_outputs
from tests.e2e.plugins.clocked_backend import here
from tests.odd.models import odd_outputs
from tests.odd.models.odd_outputs import WIDTH, rows, saved

Make = Callable[[], onnx.ModelProto]


@pytest.fixture(autouse=True)
def _clocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here(tmp_path, monkeypatch)


def optimized(
    folder: Path, make: Make, tol: float = 0.05, strategy: str = "uniform", **arrays: Any
) -> tuple[OptimizeResult, list[Event]]:
    """A search for this model on these arrays."""
    metric = arrays.pop("metric", "rel-l2")
    np.savez(folder / "data.npz", **arrays)
    asked = OptimizeConfig(
        saved(make, folder),
        folder / "data.npz",
        tol,
        metric,
        backend="clocked",
        strategy=strategy,
        threads=1,
        max_builds=3,
        output=folder / f"{make.__name__}.json",
        force=True,
    )
    results: list[OptimizeResult] = []

    def through() -> Iterator[Event]:
        results.append((yield from precsearch.optimize_events(asked)))

    events = list(through())
    return results[0], events


def warnings(result: OptimizeResult) -> str:
    assert result.plan is not None
    return "\n".join(result.plan.evidence.warnings)


def quantized(events: list[Event]) -> list[tuple[TrialFinished, Accuracy]]:
    """The engines with INT8 in them."""
    return [
        (e, e.trial.measurement.accuracy)
        for e in events
        if isinstance(e, TrialFinished)
        and e.trial.proposal.fidelity is Fidelity.ENGINE
        and e.trial.assignment.entries
        and e.trial.measurement is not None
    ]


def test_an_output_of_another_size_has_a_verdict_of_its_own(tmp_path: Path) -> None:
    result, events = optimized(tmp_path, odd_outputs.found, x=rows()[:, None])
    (event, accuracy), *_ = quantized(events)
    assert sizes_alone(accuracy.mismatches)
    assert {m.output for m in accuracy.mismatches} == {"scores", "places"}
    assert 0 < accuracy.mismatches[0].samples < accuracy.mismatches[0].total
    assert View().verdict(event.trial) is Verdict.SIZE
    assert "have another number of rows than the reference" in why(event.trial)
    said = warnings(result)
    assert "FP32's speed, was left out: output" in said
    assert "a metric of your own can judge such outputs" in said
    assert "finite" not in said
    assert result.plan is not None
    kept = [t.mismatches for t in result.plan.evidence.trials if t.mismatches]
    assert kept[0][0].kind == SIZE


METRIC = """
def missed(outputs, reference, labels):
    with open({log!r}, "a") as log:
        pairs = zip(outputs, reference)
        log.write(f"{{sum(len(o['scores']) != len(r['scores']) for o, r in pairs)}} ")
    found = [{{tuple(p) for p in o["places"].tolist()}} for o in outputs]
    wanted = [{{tuple(p) for p in r["places"].tolist()}} for r in reference]
    return [len(a ^ b) / max(len(a | b), 1) for a, b in zip(found, wanted)]
"""


def test_a_custom_metric_judges_such_engines_and_they_ship(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    (tmp_path / "own.py").write_text(METRIC.format(log=str(log)))
    metric = f"{tmp_path / 'own.py'}:missed"
    result, events = optimized(tmp_path, odd_outputs.found, 0.2, x=rows()[:, None], metric=metric)
    assert any(int(n) > 0 for n in log.read_text().split()), "it saw outputs of unequal sizes"
    assert result.plan is not None
    assert result.plan.recipe.assignment.entries
    assert any(0 < a.loss < 0.2 and a.mismatches for _, a in quantized(events))


def test_diagnose_lists_tensors_of_another_size(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=rows()[:, None])
    model = saved(odd_outputs.found, tmp_path)
    asked = DiagnoseConfig(model, tmp_path / "data.npz", Precision.INT8, backend="onnxruntime")
    report = diagnose(asked)
    assert set(report.resized) == {"scores"}
    resized = [row for row in report.layers if row.likeness.resized]
    assert "scores" in {row.tensor for row in resized}
    assert not any(row.jump for row in resized), "another size says nothing of how far it is off"
    text = "\n".join(line.plain for line in lines(report, Page(100), "worst"))
    assert "has another size than FP32 in" in text.splitlines()[0]
    assert any(line.split()[:1] == ["size"] for line in text.splitlines())
    assert fields(report)["resized"] == report.resized


def causal(count: int, size: int = 8) -> np.ndarray:
    mask = np.zeros((count, 1, size, size), np.float32)
    mask[:, :, np.triu(np.ones((size, size), bool), 1)] = -np.inf
    return mask


def test_infinities_in_an_attention_mask_are_data(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((32, 8, WIDTH)).astype(np.float32)
    result, events = optimized(tmp_path, odd_outputs.masked, x=x, mask=causal(32))
    assert result.plan is not None
    assert result.plan.recipe.assignment.entries
    assert all(np.isfinite(a.loss) for _, a in quantized(events))


def test_nan_of_the_model_itself_is_called_nan(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((32, 8, WIDTH)).astype(np.float32)
    mask = causal(32)
    mask[::4, :, 0] = -np.inf  # a row that sees nothing
    result, _ = optimized(tmp_path, odd_outputs.masked, x=x, mask=mask)
    said = [w for w in warnings(result).splitlines() if "stays out of INT8" in w]
    assert said
    assert all("holds NaN" in w for w in said if "'mask'" not in w)


def test_nan_in_an_input_is_refused_only_where_the_model_passes_it_on(tmp_path: Path) -> None:
    x = rows()
    x[3, 5] = np.nan
    result, _ = optimized(tmp_path, odd_outputs.coping, x=x)
    assert result.plan is not None
    told = r"input 'x' holds NaN in 1 feed, and so does the model's output 'y'"
    with pytest.raises(DataError, match=told):
        optimized(tmp_path, odd_outputs.plain, x=x)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (odd_outputs.empty, "output 'y' has no elements in any sample"),
        (odd_outputs.undefined, "output 'y' is NaN throughout"),
    ],
)
def test_a_run_without_a_comparable_output_is_refused(
    tmp_path: Path, make: Make, said: str
) -> None:
    with pytest.raises(DataError, match=f"nothing can be compared: {said}"):
        optimized(tmp_path, make, x=rows())


def test_a_constant_output_and_equal_samples_cause_warnings(tmp_path: Path) -> None:
    result, _ = optimized(tmp_path, odd_outputs.constant, x=rows())
    assert "output 'y' is 3.0 in all samples: a loss of 0 says nothing there" in warnings(result)
    result, _ = optimized(tmp_path, odd_outputs.plain, x=np.zeros((32, WIDTH), np.float32))
    assert "feeds are equal: losses are those of one feed" in warnings(result)
    result, _ = optimized(tmp_path, odd_outputs.plain, x=rows())
    assert "says nothing" not in warnings(result)
    assert "are equal" not in warnings(result)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (np.zeros((32, 3), np.float32), r"has shape \(1, 3\) where the model's own .* \(1, 32\)"),
        (np.full((32, WIDTH), np.nan, np.float32), "holds NaN where the model's own output holds"),
    ],
)
def test_references_of_another_model_are_refused_before_the_search(
    tmp_path: Path, reference: np.ndarray, said: str
) -> None:
    with pytest.raises(DataError, match=f"the reference '__ref__y' does not fit: it {said}"):
        optimized(tmp_path, odd_outputs.plain, x=rows(), __ref__y=reference)


def test_references_of_this_model_are_used_and_those_of_a_holdout_are_checked_early(
    tmp_path: Path,
) -> None:
    x = rows()
    model = saved(odd_outputs.plain, tmp_path)
    y = reference_outputs(str(model), [{"x": x}])[0]["y"]
    result, events = optimized(tmp_path, odd_outputs.plain, x=x, __ref__y=y)
    assert result.plan is not None
    assert quantized(events)
    np.savez(tmp_path / "holdout.npz", x=x, __ref__y=y[:, :3])
    with pytest.raises(DataError, match="'__ref__y' does not fit"):
        precsearch.optimize(
            model,
            data=tmp_path / "data.npz",
            holdout=tmp_path / "holdout.npz",
            backend="clocked",
            threads=1,
            output=tmp_path / "other.json",
            force=True,
        )


def test_the_output_that_misses_the_bound_is_named(tmp_path: Path) -> None:
    _, events = optimized(tmp_path, odd_outputs.ranked, x=rows())
    (_, accuracy), *_ = quantized(events)
    assert accuracy.loss == max(accuracy.by_output.values()) == accuracy.by_output["classes"]
    assert accuracy.by_output["scores"] < accuracy.by_output["classes"]
