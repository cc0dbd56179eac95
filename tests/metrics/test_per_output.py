"""Bounds of single outputs, and outputs whose parts one norm does not see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.cli.options.control import _parsed, bounds
from precsearch.core.backend import Feed
from precsearch.core.errors import OptionError
from precsearch.metrics import METRICS, PerOutput, metric, per_output_name, scale_notes
from precsearch.metrics.scales import scale_gaps

ONE = np.ones((4, 8), np.float32)


def outputs(boxes: float, scores: float) -> list[Feed]:
    """Off by these shares."""
    return [{"boxes": 100 * ONE * (1 + boxes), "scores": ONE * (1 + scores)}]


REFERENCE = outputs(0, 0)


@pytest.mark.parametrize("base", ["rel-l2", "rel-l2-max"])
def test_the_loss_is_the_largest_share_of_an_outputs_own_bound(base: str) -> None:
    judge = metric(per_output_name(base, {"boxes": 1e-2, "scores": 1e-1}))
    assert judge.name == f"{base}[boxes=0.01,scores=0.1]"
    assert judge.bound(1.0) == 1.0
    found = judge.score(outputs(0.005, 0.08), REFERENCE)
    assert found.loss == pytest.approx(0.8, rel=1e-3)
    assert found.by_output == pytest.approx({"boxes": 0.5, "scores": 0.8}, rel=1e-3)
    assert found.loss <= found.upper
    assert max(found.per_sample) == pytest.approx(found.loss, rel=1e-3)
    assert judge.score(outputs(0.02, 0.0), REFERENCE).loss == pytest.approx(2, rel=1e-3)


def test_decibels_are_bounds_too_and_one_number_is_for_the_rest() -> None:
    judge = metric("sqnr[*=20,boxes=40]")
    assert judge.score(outputs(0.01, 0.1), REFERENCE).loss == pytest.approx(1, rel=1e-2)


@given(st.floats(0, 0.2), st.floats(0, 0.2))
def test_it_is_within_its_bound_where_each_output_is(a: float, b: float) -> None:
    judge = metric("rel-l2[boxes=0.1,scores=0.05]")
    found = judge.score(outputs(a, b), REFERENCE)
    plain = metric("rel-l2").score(outputs(a, b), REFERENCE).by_output
    within = plain["boxes"] <= 0.1 and plain["scores"] <= 0.05
    assert (found.loss <= 1) == within


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rel-l2[boxes=0.1]", "leaves the output 'scores' without a bound"),
        ("rel-l2[boxes=0.1,score=0.1]", "bounds 'score', but the model's outputs are"),
    ],
)
def test_bounds_and_outputs_must_fit(name: str, said: str) -> None:
    judge = metric(name)
    assert isinstance(judge, PerOutput)
    with pytest.raises(OptionError, match=said):
        judge.check(["boxes", "scores"])


@pytest.mark.parametrize(
    "name", ["top1[boxes=0.1]", "none[boxes=0.1]", "rel-l2[boxes=x]", "rel-l2[boxes=-1]"]
)
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(OptionError):
        metric(name)
    with pytest.raises(OptionError, match="without commas"):
        per_output_name("rel-l2", {"a,b": 0.1})


def test_parts_of_another_scale_are_reported() -> None:
    head = np.random.default_rng(0).uniform(0.5, 1, (2, 30, 6)).astype(np.float32)
    assert scale_gaps([{"out": head}]) == ()
    head[..., :4] *= 300
    (said,) = scale_gaps([{"out": head}])
    assert "entries 4 to 5 of axis 2 are" in said
    assert "docs/metrics.md" in said
    assert scale_notes(METRICS["rel-l2"], [{"out": head}]) == (said,)
    assert scale_notes(METRICS["box-agreement"], [{"out": head}]) == ()
    dead = np.ones((2, 5, 30), np.float32)
    dead[:, 0] = 0
    assert scale_gaps([{"out": dead, "long": np.ones((1, 3)) * [1, 10, 100]}]) == ()


def test_the_command_line_takes_a_bound_for_each_output() -> None:
    (plain,) = bounds([_parsed("3e-2")], ["sqnr"])
    assert (plain[0], plain[1].values) == ("sqnr", (0.03,))
    (single,) = bounds([_parsed("boxes=1e-2, scores=3e-2")], ["rel-l2"])
    assert (single[0], single[1].values) == ("rel-l2[boxes=0.01,scores=0.03]", (1.0,))
    (others,) = bounds([_parsed("1e-2,boxes=3e-2")], ["rel-l2"])
    assert others[0] == "rel-l2[*=0.01,boxes=0.03]"
    with pytest.raises(OptionError, match="twice"):
        _parsed("a=1,a=2")
