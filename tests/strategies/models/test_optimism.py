import math
from dataclasses import replace

import pytest

from precsearch.core.space import Assignment
from precsearch.core.trial import Measured, Measurement, Prediction, Proposal, Trial
from precsearch_strategies.history import History
from precsearch_strategies.models.optimism import optimism
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe


def measured(landscape: Landscape, off: float, count: int, share: float = 1.0) -> History:
    """Engines that use ``off`` times the bound that was predicted, and are that much slower."""
    known = History(landscape.problem)
    for group in landscape.space.free[:count]:
        proposal = Proposal(Assignment.of({group.key: INT8}))
        trial = Trial(len(known.engines), proposal, landscape.measure(proposal))
        known.engines[trial.assignment] = trial
        usage, ratio = known.usage(trial), known.ratio(trial)
        assert usage is not None
        assert ratio is not None
        known.uncorrected[trial.assignment] = Prediction(ratio - 0.02, usage / off)
    return known.tightened(share)


@pytest.fixture
def landscape() -> Landscape:
    return Recipe(groups=8, precisions=(FP32, INT8)).draw(1)


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_it_grows_with_the_engines_that_were_flattered(landscape: Landscape, share: float) -> None:
    found = [optimism(measured(landscape, 1.2, count, share)) for count in (0, 2, 6)]
    assert [o.usage for o in found] == pytest.approx([0, math.log(1.2) / 2, 0.75 * math.log(1.2)])
    assert [o.ratio for o in found] == pytest.approx([0, 0.01, 0.015])


def test_one_engine_that_is_far_off_does_not_decide(landscape: Landscape) -> None:
    assert optimism(measured(landscape, 1e5, 1)).usage < 0.25


def test_the_margin_is_what_the_samples_leave_in_doubt(landscape: Landscape) -> None:
    known = measured(landscape, 1.0, 3)
    assert known.margin(0.85) == 0.85
    for assignment, trial in known.engines.items():
        assert isinstance(trial.outcome, Measured)
        found: Measurement = trial.outcome.measurement
        accuracy = replace(found.accuracy, upper=found.accuracy.loss / 0.6)
        outcome = Measured(replace(found, accuracy=accuracy))
        known.engines[assignment] = replace(trial, outcome=outcome)
    assert known.margin(0.85) == pytest.approx(0.6)
