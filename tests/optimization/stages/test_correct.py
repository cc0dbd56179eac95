"""Corrections: what makes INT8 better is kept, recorded and replayed; what does not is not."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.core.errors import OptionError, PlanError, ReplayError
from precsearch.core.precision import Precision
from precsearch.optimization.stages import correct
from precsearch.optimization.stages.correct import BIAS, RANGES, SHARE_OF_BUDGET, Correcting
from precsearch.optimization.stages.correction import judge, ranges, trials
from precsearch.optimization.stages.correction.ranges import Ask
from precsearch.optimization.stages.correction.trials import Candidate
from precsearch.optimization.stages.corrections_file import Corrections, read_corrections
from precsearch.plan.plan import Plan
from precsearch.setup.config import CORRECTIONS, OptimizeConfig
from tests.e2e.plugins.clocked_backend import here
from tests.optimization.unequal import searched, unequal
from tests.rewrites.scalable_models import CHANNELS, Chain, conv


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, its data, and an engine on which INT8 is always the faster."""
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    onnx.save(unequal(), "model.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(0, 1, (16, CHANNELS, 8, 8)).astype(np.float32))
    return tmp_path


def int8_loss(plan: Plan) -> float:
    """Of the uniform INT8 engine."""
    return next(t.loss for t in plan.evidence.trials if t.counts and t.loss is not None)


def test_equal_channels_bring_int8_within_the_bound(place: Path) -> None:
    plain = searched(corrections=())
    assert (plain.evidence.corrections, plain.recipe.rewrites) == ((), ())
    assert all(g.precision is Precision.FP32 for g in plain.recipe.groups)
    found = searched()
    row = found.evidence.corrections[0]
    assert (row.name, row.kept) == ("equalize", True)
    assert row.after < 0.3 * row.before
    assert int8_loss(found) < 0.3 * int8_loss(plain)
    assert any(g.precision is Precision.INT8 for g in found.recipe.groups)
    assert [rewrite.name for rewrite in found.recipe.rewrites] == ["equalize"]


def test_a_corrected_plan_is_replayed_byte_for_byte(place: Path) -> None:
    found = searched()
    report = precsearch.build("model.plan.json", "model.onnx", "fast.onnx")
    made = hashlib.sha256(Path("fast.onnx").read_bytes()).hexdigest()
    assert report.verdict == "identical"
    assert made == found.recipe.materialised_sha256
    rewrite = found.recipe.rewrites[0]
    name = next(iter(rewrite.params))
    other = dataclasses.replace(rewrite, params={**rewrite.params, name: "i1:AQEBAQEB"})
    recipe = dataclasses.replace(found.recipe, rewrites=(other,))
    Path("other.plan.json").write_text(dataclasses.replace(found, recipe=recipe).to_json())
    with pytest.raises(ReplayError, match="does not reproduce"):
        precsearch.build("other.plan.json", "model.onnx", "other.onnx")


def test_a_plan_of_fp32_alone_ships_the_model_as_it_is(place: Path) -> None:
    found = searched(tol=1e-6)
    assert found.evidence.corrections[0].kept
    assert found.recipe.rewrites == ()
    assert precsearch.build("model.plan.json", "model.onnx", "plain.onnx").verdict == "identical"


def test_corrections_are_stored_as_they_were_found(place: Path) -> None:
    first = searched()
    (stored,) = Path("model.precsearch").glob("corrections-*.json")
    known = read_corrections(stored)
    assert known is not None
    assert known.evidence == first.evidence.corrections
    assert [name for name, _ in known.rewrites] == ["equalize"]
    stored.write_text("{}")
    assert read_corrections(stored) is None


def test_a_correction_that_does_not_help_is_not_kept(place: Path) -> None:
    chain = Chain(1)
    for _ in range(3):
        conv(chain)
        chain.node("Relu", [chain.tensor])
    conv(chain)
    onnx.save(chain.model(["n", CHANNELS, 8, 8]), "model.onnx")
    found = searched()
    assert not any(row.kept for row in found.evidence.corrections)
    assert found.recipe.rewrites == ()


def test_an_unknown_correction_is_refused() -> None:
    with pytest.raises(OptionError, match="there is no correction 'hope'; use some of"):
        OptimizeConfig(Path("m.onnx"), corrections=("hope",))
    assert CORRECTIONS[:2] == ("fold-bias", "equalize")


def test_shifted_biases_are_replayed_byte_for_byte(place: Path) -> None:
    rng = np.random.default_rng(0)
    # Inputs far from 0 on average, so that rounded weights move the mean of what is computed.
    np.savez("data.npz", x=rng.normal(3, 0.1, (16, CHANNELS, 8, 8)).astype(np.float32))
    chain = Chain(1)
    conv(chain)
    onnx.save(chain.model(["n", CHANNELS, 8, 8]), "model.onnx")
    found = searched(corrections=("bias",))
    (row,) = found.evidence.corrections
    assert (row.name, row.kept) == ("bias", True)
    assert row.after < 0.9 * row.before
    (shift,) = found.recipe.shifts
    assert shift.shift.startswith("f2:")
    assert precsearch.build("model.plan.json", "model.onnx", "fast.onnx").verdict == "identical"
    for wrong in (shift.shift[:-8], "f2:?", "i1:AA=="):
        malformed = dataclasses.replace(shift, shift=wrong)
        recipe = dataclasses.replace(found.recipe, shifts=(malformed,))
        Path("other.plan.json").write_text(dataclasses.replace(found, recipe=recipe).to_json())
        with pytest.raises(PlanError, match="shift of node 't0' does not fit it"):
            precsearch.build("other.plan.json", "model.onnx", "other.onnx")


def judged_by(metric: str, **changes: object) -> tuple[float, float] | None:
    """Loss before and after equalization where it is kept."""
    found = searched(metric=metric, tol=0.5, corrections=("equalize",), force=True, **changes)
    rows = [row for row in found.evidence.corrections if row.kept]
    return (rows[0].before, rows[0].after) if rows else None


def test_the_metric_of_the_user_decides_on_corrections(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("task.py").write_text(
        "import numpy as np\n"
        "def share(outputs, reference, labels):\n"
        "    found, wanted = (np.concatenate([o['t6'] for o in s]) for s in (outputs, reference))\n"
        "    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted)) / 7\n"
        "def indifferent(outputs, reference, labels):\n"
        "    return 0.25\n"
    )
    monkeypatch.syspath_prepend(place)
    usual, own = judged_by("rel-l2"), judged_by("task:share")
    assert usual is not None
    assert own is not None
    assert own == pytest.approx([value / 7 for value in usual], rel=0.2)
    assert judged_by("task:indifferent") is None


def test_relative_l2_judges_where_there_are_too_few_answers(place: Path) -> None:
    model = unequal()
    model.graph.node.append(onnx.helper.make_node("GlobalAveragePool", ["t6"], ["pooled"]))
    model.graph.node.append(onnx.helper.make_node("Flatten", ["pooled"], ["scores"]))
    model.graph.output[0].name = "scores"
    onnx.save(model, "model.onnx")
    right = judged_by("top1-agree")
    assert right is not None
    assert right == judged_by("rel-l2")


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("used", [0.8, 1.1])
def test_ranges_leave_time_for_biases_and_no_more_than_the_share_is_used(
    place: Path, monkeypatch: pytest.MonkeyPatch, used: float
) -> None:
    """``used``: what choosing ranges takes of the time that all corrections have."""
    clock, budget = Clock(), 400.0
    for module in (correct, judge, ranges, trials):
        monkeypatch.setattr(module, "time", clock)
    found, asked = Correcting._candidates, list[str]()

    def slowly(self: Correcting, name: str, kept: Corrections, ask: Ask) -> Iterator[Candidate]:
        asked.append(name)
        if name != RANGES:
            yield from found(self, name, kept, ask)
            return
        clock.now = used * SHARE_OF_BUDGET * budget
        yield Candidate(kept)  # too late to be judged
        raise AssertionError("there was no time for a second set of ranges")

    monkeypatch.setattr(Correcting, "_candidates", slowly)
    rows = searched(time_budget=budget).evidence.corrections
    assert RANGES in asked
    assert all(row.name != RANGES for row in rows)
    assert (BIAS in asked) == (used < 1)
