import math
from dataclasses import replace

import numpy as np
import pytest

from precsearch.core.space import Assignment
from precsearch.core.trial import Measured, Measurement, Proposal, Trial
from precsearch_strategies.history import Forecast, History
from precsearch_strategies.models.calibration import Calibration, calibration
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe


def measured(
    landscape: Landscape,
    off: float,
    count: int,
    share: float = 1.0,
    *,
    slower: float = 0.02,
    stated: float = 0.01,
    doubt: float = 0.05,
) -> History:
    """Engines that use ``off`` times the bound that was predicted, and are ``slower``."""
    known = History(landscape.problem)
    for group in landscape.space.free[:count]:
        proposal = Proposal(Assignment.of({group.key: INT8}))
        trial = Trial(len(known.engines), proposal, landscape.measure(proposal))
        known.engines[trial.assignment] = trial
        usage, ratio = known.usage(trial), known.ratio(trial)
        assert usage is not None
        assert ratio is not None
        said = Forecast(ratio - slower, stated, usage / off, doubt)
        known.forecasts[trial.assignment] = known.foreseen[trial.assignment] = said
    return known.tightened(share)


def spread(found: Calibration, stated: float) -> float:
    row = found.corrected(np.array([0.5]), np.array([stated]), np.array([0.1]))
    return float(row[1][0])


@pytest.fixture
def landscape() -> Landscape:
    return Recipe(groups=8, precisions=(FP32, INT8)).draw(1)


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_the_correction_grows_with_the_engines_that_were_overestimated(
    landscape: Landscape, share: float
) -> None:
    found = [calibration(measured(landscape, 1.2, count, share)) for count in (0, 2, 6)]
    assert [o.usage for o in found] == pytest.approx([0, math.log(1.2) / 2, 0.75 * math.log(1.2)])
    assert [o.ratio for o in found] == pytest.approx([0, 0.01, 0.015])


def test_one_engine_that_is_far_off_does_not_decide(landscape: Landscape) -> None:
    assert calibration(measured(landscape, 1e5, 1)).usage < 0.25


def test_models_that_were_never_checked_keep_their_stated_doubt(landscape: Landscape) -> None:
    found = calibration(measured(landscape, 1.0, 0))
    assert (found.stretch, found.usage_stretch, found.doubt) == (1.0, 1.0, 0.0)
    assert spread(found, 0.03) == pytest.approx(0.03)


def test_no_prediction_is_below_the_possible_minimum(landscape: Landscape) -> None:
    found = calibration(measured(landscape, 1.0, 6, slower=-0.09, stated=0.001))
    assert found.ratio < -0.05
    means, spreads = found.corrected(np.array([0.057]), np.array([0.1]), np.array([0.95]))
    assert means[0] == 0.95
    assert means[0] - spreads[0] >= 0.94


@pytest.mark.parametrize("slower", [-0.08, 0.08])
def test_errors_beyond_what_the_models_stated_widen_their_doubt(
    landscape: Landscape, slower: float
) -> None:
    right = calibration(measured(landscape, 1.0, 6, slower=0.005, stated=0.01))
    wrong = calibration(measured(landscape, 1.0, 6, slower=slower, stated=0.01))
    assert right.stretch < 1 < wrong.stretch
    assert spread(wrong, 0.01) > 2 * spread(right, 0.01)
    # What the model itself has widened since is not counted twice.
    again = calibration(measured(landscape, 1.0, 6, slower=slower, stated=0.01), 8.0)
    assert again.stretch < wrong.stretch / 2


def test_the_error_model_is_checked_by_its_first_word_on_each_candidate(
    landscape: Landscape,
) -> None:
    right = calibration(measured(landscape, 1.05, 6, doubt=0.05))
    wrong = calibration(measured(landscape, 1.3, 6, doubt=0.05))
    assert right.usage_stretch == 1.0
    assert 2 < wrong.usage_stretch <= 4


def test_the_margin_is_the_sampling_error(landscape: Landscape) -> None:
    known = measured(landscape, 1.0, 3)
    assert known.margin(0.85) == 0.85
    for assignment, trial in known.engines.items():
        assert isinstance(trial.outcome, Measured)
        found: Measurement = trial.outcome.measurement
        accuracy = replace(found.accuracy, upper=found.accuracy.loss / 0.6)
        outcome = Measured(replace(found, accuracy=accuracy))
        known.engines[assignment] = replace(trial, outcome=outcome)
    assert known.margin(0.85) == pytest.approx(0.6)
