"""What a run takes over from earlier ones, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.core.backend import Fingerprint
from precsearch.core.errors import InputError
from precsearch.core.events import RunStarted, SearchStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import (
    KILLED,
    Accuracy,
    Failed,
    Fidelity,
    Latency,
    Measured,
    Measurement,
    Prediction,
    Proposal,
    Trial,
)
from precsearch.lowering.lower import Lowered
from precsearch.optimization.stored import take_over
from precsearch.optimization.warm import Warm, warm_start
from precsearch.search.journal import Journal
from precsearch.system.serialized import SerializedModel
from precsearch_strategies.history import History
from tests.cli.runs import plan

INT8 = Precision.INT8
SPACE = SearchSpace(tuple(LayerGroup(k, "conv", (k,), (Precision.FP32, INT8)) for k in "abc"))
IDENTITY = {"model": "m" * 64, "data": "d", "tol": "0.01", "strategy": "auto"}


def trial(number: int, keys: str, fidelity: Fidelity = Fidelity.ENGINE) -> Trial:
    latency = Latency(0.9, 0.9, 0.9, 0.9, 0.9, 0.9) if fidelity is Fidelity.ENGINE else None
    measured = Measured(Measurement(Accuracy(0.004, 0.005), latency))
    asked = Assignment.of(dict.fromkeys(keys, INT8))
    proposal = Proposal(asked, fidelity, "a reason", Prediction(0.8, 0.5))
    return Trial(number, proposal, measured, "digest" * bool(latency), seconds=5.0)


def recorded(folder: Path, *trials: Trial, **other: str) -> Path:
    identity = {**IDENTITY, **other}
    with Journal.open(folder, identity) as journal:
        journal.append(RunStarted(identity, "model.onnx", "0.1.0"))
        for found in trials:
            journal.append(TrialFinished(found, 1, 1.0))
    return folder


def test_a_run_of_another_tolerance_is_taken_over(tmp_path: Path) -> None:
    one = recorded(tmp_path / "one", trial(0, ""), trial(1, "a", Fidelity.PROXY), trial(2, "abc"))
    two = recorded(tmp_path / "two", trial(0, ""), trial(1, "ab"), tol="0.1", strategy="tpe")
    warm = warm_start([one, two / "journal.jsonl"], {**IDENTITY, "tol": "0.03"}, SPACE)
    assert [t.number for t in warm.trials] == [0, 1, 2, 3]
    assert [len(t.assignment) for t in warm.trials] == [0, 1, 3, 2]
    assert {t.proposal.predicted for t in warm.trials} == {None}, "it was of another bound"
    assert warm.said == ("3 engines and 1 proxy of earlier runs are taken over, not measured",)
    again = recorded(tmp_path / "again", *warm.trials)
    reasons = {t.proposal.reason for t in warm_start([again], IDENTITY, SPACE).trials}
    assert reasons == {"measured by an earlier run: a reason"}


def test_trials_that_were_killed_from_outside_are_tried_again(tmp_path: Path) -> None:
    killed = replace(trial(1, "a"), outcome=Failed("build", KILLED, "gone"))
    failed = replace(trial(2, "b"), outcome=Failed("build", "error", "no kernel"))
    found = warm_start([recorded(tmp_path / "run", killed, failed)], IDENTITY, SPACE)
    assert [t.assignment for t in found.trials] == [failed.assignment]


def test_a_run_by_another_metric_is_taken_over_where_it_scored_by_ours(tmp_path: Path) -> None:
    theirs, ours = {"metric": "rel-l2"}, {**IDENTITY, "metric": "cosine"}
    by_both = trial(1, "a")
    assert by_both.measurement is not None
    also = {"cosine": Accuracy(0.1, 0.2)}
    both = replace(by_both, outcome=Measured(replace(by_both.measurement, also=also)))
    failed = replace(trial(2, "b"), outcome=Failed("build", "error", "no kernel"))
    run = recorded(tmp_path / "run", trial(0, "c"), both, failed, **theirs)
    found = warm_start([run], ours, SPACE).trials
    assert [t.assignment for t in found] == [both.assignment, failed.assignment]
    taken = found[0].measurement
    assert taken is not None
    assert (taken.accuracy, dict(taken.also)) == (
        Accuracy(0.1, 0.2),
        {"rel-l2": by_both.measurement.accuracy},
    )
    alone = recorded(tmp_path / "alone", trial(0, "c"), **theirs)
    with pytest.raises(InputError, match=r"other options \(metric\)"):
        warm_start([alone], ours, SPACE)


def test_engines_that_are_lowered_otherwise_now_are_refused() -> None:
    warm = Warm((trial(0, ""), trial(1, "abc")))
    lowered = Lowered(SerializedModel(()), "digest", {}, {}, {}, {})
    warm.check(lambda _: lowered)
    with pytest.raises(InputError, match=r"other options \(corrections\)"):
        warm.check(lambda _: replace(lowered, digest="another"))


def test_stored_data_of_earlier_runs_is_taken_over(tmp_path: Path) -> None:
    for folder in ("one", "two", "own"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ranges-a.json").write_text(folder)
    (tmp_path / "two" / "corrections-b.json").write_text("two")
    (tmp_path / "two" / "journal.jsonl").write_text("two")
    (tmp_path / "two" / "screen-c.json").symlink_to(tmp_path / "two" / "journal.jsonl")
    take_over(tmp_path / "own", [tmp_path / "one", tmp_path / "two"])
    own = {p.name: p.read_text() for p in (tmp_path / "own").iterdir()}
    assert own == {"ranges-a.json": "own", "corrections-b.json": "two"}


def test_a_run_of_other_data_is_refused(tmp_path: Path) -> None:
    other = recorded(tmp_path / "run", trial(0, ""), data="e", seed="1")
    with pytest.raises(InputError, match=r"other options \(data, seed\), so its measurements"):
        warm_start([other], IDENTITY, SPACE)


def test_a_plan_is_a_first_candidate_as_far_as_the_model_has_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.plan.json"
    made = plan()
    path.write_text(made.to_json())
    chosen = dict(made.recipe.assignment.entries)
    groups = tuple(LayerGroup(k, "conv", (k,), (Precision.FP32, p)) for k, p in chosen.items())
    whole = warm_start([path], IDENTITY, SearchSpace(groups))
    assert whole.guesses == (made.recipe.assignment,)
    assert whole.trials == ()
    assert whole.said == ()
    (half,) = warm_start([path], IDENTITY, SearchSpace(groups[:1])).said
    assert ", 7 do not fit" in half
    assert half.endswith("the others are tried first")
    none = warm_start([path], IDENTITY, SPACE)
    assert none.guesses == ()
    assert none.said[0].endswith("they are not tried")


def test_a_budget_of_engines_is_for_new_ones_and_earlier_time_is_not_spent() -> None:
    trials = (trial(0, ""), trial(1, "abc"), trial(2, "a", Fidelity.PROXY))
    problem = Problem(SPACE, Goal(Bound(1e-2)), Budget(max_builds=4), setup_seconds=3.0)
    warm = Warm(trials)(problem)
    assert warm.budget.max_builds == 6
    known = History(warm)
    assert known.spent == 3.0
    assert known.builds == 2
    assert known.engine_room() == 4
    assert History(replace(warm, earlier=0)).spent == 18.0
    assert Warm()(problem) == problem


@pytest.mark.parametrize("runtime", ["", "onnxruntime 1.32.0"])
def test_times_of_another_device_or_runtime_are_pointed_out(tmp_path: Path, runtime: str) -> None:
    folder = tmp_path / "run"
    with Journal.open(folder, IDENTITY) as journal:
        journal.append(RunStarted(IDENTITY, "model.onnx", "0.1.0"))
        bound, budget = Bound(0.01), Budget()
        started = SearchStarted("a Xeon", "auto", 3, 3, bound, budget, 0.01, runtime=runtime)
        journal.append(started)
        journal.append(TrialFinished(trial(0, ""), 1, 1.0))
    warm = warm_start([folder], IDENTITY, SPACE)
    newer = {"onnxruntime": "1.32.0", "numpy": "2.5.0"}
    assert warm.elsewhere(Fingerprint("onnxruntime", newer, "a Xeon")) == ()
    (told,) = warm.elsewhere(Fingerprint("onnxruntime", newer, "an EPYC"))
    assert told.startswith("the trials that are taken over were timed on a Xeon")
    assert "and this is an EPYC, onnxruntime 1.32.0: " in told
    other = Fingerprint("onnxruntime", {**newer, "onnxruntime": "1.33.0"}, "a Xeon")
    assert bool(warm.elsewhere(other)) is bool(runtime), "an old journal does not tell"
