"""What precsearch 0.1.0 wrote is read with the words of today, and names that users chose stay."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from precsearch.codec import renamed
from precsearch.core.backend.old_names import engine_warnings, layer_summary
from precsearch.core.events import BatchProposed, TrialFinished, TrialStarted
from precsearch.core.trial import Prediction
from precsearch.plan.plan import read_plan
from precsearch.search.journal import NAME, read

ROOT = Path(__file__).parents[2]
PROPOSAL = {
    "assignment": {"slack": "int8"},
    "fidelity": "engine",
    "reason": "",
    "predicted": {"ratio": 0.5, "slack": 0.25},
}
ACCURACY = {"loss": 0.0, "upper": 0.0, "by_output": {"remarks": 0.0}}
MEASUREMENT = {"accuracy": ACCURACY, "remarks": ["timed without a CUDA graph"]}
TRIAL = {
    "number": 0,
    "proposal": PROPOSAL,
    "outcome": {"type": "Measured", "measurement": MEASUREMENT},
}
LINES: Sequence[dict[str, Any]] = (
    {"type": "BatchProposed", "proposals": [PROPOSAL]},
    {"type": "TrialStarted", "number": 0, "proposal": PROPOSAL},
    {"type": "TrialFinished", "trial": TRIAL, "builds": 1, "elapsed": 1.0},
)


def test_a_journal_of_0_1_0_is_read(tmp_path: Path) -> None:
    text = "".join(f"{json.dumps(line)}\n" for line in LINES)
    (tmp_path / NAME).write_text(text)
    batch, started, finished = read(tmp_path)
    assert isinstance(batch, BatchProposed)
    assert isinstance(started, TrialStarted)
    assert isinstance(finished, TrialFinished)
    for proposal in (*batch.proposals, started.proposal, finished.trial.proposal):
        assert proposal.predicted == Prediction(ratio=0.5, usage=0.25)
        assert list(proposal.assignment) == ["slack"], "the name of a group"
    measured = finished.trial.measurement
    assert measured is not None
    assert measured.warnings == ("timed without a CUDA graph",)
    assert measured.accuracy.by_output == {"remarks": 0.0}, "the name of an output"


def test_a_plan_of_0_1_0_is_read() -> None:
    plan = read_plan(ROOT / "examples/replay/digits-0.1.0.plan.json")
    assert plan.evidence.fingerprint.backend == "onnxruntime"
    assert plan.recipe.rewrites == ()
    assert plan.recipe == read_plan(ROOT / "examples/replay/digits.plan.json").recipe


def test_a_recipe_s_words_are_renamed_and_options_of_other_backends_are_not() -> None:
    old = {"backend": "tensorrt", "cures": [], "options": {"pin": "all"}}
    new = {"backend": "tensorrt", "rewrites": [], "options": {"layer_precisions": "all"}}
    assert renamed.recipe(old) == new
    other = {"backend": "mine", "options": {"pin": "all"}}
    assert renamed.recipe(other) == other


@pytest.mark.parametrize("data", [None, 3, [], "x", {}, {"trial": 1}, {"proposals": {}}])
def test_values_that_are_not_records_are_left_for_the_reader_to_refuse(data: object) -> None:
    assert renamed.event(data) == data
    assert renamed.evidence(data) == data
    assert renamed.recipe(data) == data


def test_a_record_with_both_names_is_left_for_the_reader_to_refuse() -> None:
    both = {"slack": 1.0, "usage": 2.0}
    assert renamed.renamed(both, {"slack": "usage"}) == both


class Old:
    """A plug-in's backend that has the methods of 0.1.0."""

    def remarks(self, artifact: bytes) -> tuple[str, ...]:
        return (artifact.decode(),)

    def anatomy(self, artifact: bytes) -> tuple[str, ...]:
        return (artifact.decode(), "layer")


def test_a_backend_of_a_plug_in_may_have_the_old_names_for_a_release() -> None:
    backend: Any = Old()
    assert engine_warnings(backend, b"said") == ("said",)
    assert layer_summary(backend, b"of") == ("of", "layer")
