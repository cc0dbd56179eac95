"""What every metric promises, whatever the numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precsearch.core.backend import Array
from precsearch.core.errors import OptionError
from precsearch.core.trial import Aggregation
from precsearch.metrics import METRICS, Metric, metric
from precsearch.metrics.resample import aggregate
from tests.metrics.scored import CONTINUOUS, RELATIVE, feeds, names, pairs, score


def test_the_registry_holds_metrics() -> None:
    assert next(iter(METRICS)) == "rel-l2"
    for name, found in METRICS.items():
        assert isinstance(found, Metric)
        assert found.name == name


@given(names, pairs())
def test_a_perfect_output_has_no_loss(name: str, pair: tuple[Array, Array]) -> None:
    accuracy = score(name, pair[0], pair[0])
    assert accuracy.loss == accuracy.upper == accuracy.worst == 0


@given(names, pairs())
def test_losses_are_finite_and_the_upper_estimate_lies_above(
    name: str, pair: tuple[Array, Array]
) -> None:
    reference, output = pair
    accuracy = score(name, output, reference)
    assert 0 <= accuracy.loss <= accuracy.upper < math.inf
    assert accuracy.upper <= 1.5 * accuracy.loss
    assert accuracy.worst >= accuracy.loss * (1 - 1e-9)
    assert len(accuracy.per_sample) == len(accuracy.weights) == len(reference)
    assert all(w > 0 for w in accuracy.weights)


@given(names, pairs())
def test_the_loss_is_the_aggregate_of_its_samples(name: str, pair: tuple[Array, Array]) -> None:
    accuracy = score(name, pair[1], pair[0])
    errors, weights = np.array(accuracy.per_sample), np.array(accuracy.weights)
    if accuracy.aggregation is Aggregation.RMS:
        again = math.sqrt(float((errors**2 * weights).sum() / weights.sum()))
    elif accuracy.aggregation is Aggregation.MEAN:
        again = float((errors * weights).sum() / weights.sum())
    else:
        again = accuracy.worst
    assert accuracy.loss == pytest.approx(again, rel=1e-9, abs=1e-30)


@given(names, pairs(), st.randoms())
def test_the_order_of_samples_changes_nothing(
    name: str, pair: tuple[Array, Array], random: object
) -> None:
    order = list(range(len(pair[0])))
    random.shuffle(order)  # type: ignore[attr-defined]
    first, second = score(name, pair[1], pair[0]), score(name, pair[1][order], pair[0][order])
    assert second.loss == pytest.approx(first.loss, rel=1e-9)
    assert second.upper == pytest.approx(first.upper, rel=1e-9)


@given(st.sampled_from(RELATIVE), pairs(), st.integers(-20, 20))
def test_relative_losses_do_not_depend_on_the_unit(
    name: str, pair: tuple[Array, Array], exponent: int
) -> None:
    reference, output = (a.astype(np.float64) for a in pair)
    if np.abs(reference).max() < 1e-3:  # floored
        return
    factor = 2.0**exponent
    scaled = score(name, output * factor, reference * factor).loss
    assert scaled == pytest.approx(score(name, output, reference).loss, rel=1e-6)


@given(names, pairs(least=2), st.integers(2, 5))
def test_how_samples_are_cut_into_feeds_changes_nothing(
    name: str, pair: tuple[Array, Array], size: int
) -> None:
    reference, output = pair
    cut = [slice(i, i + size) for i in range(0, len(reference), size)]
    sizes = [len(reference[c]) for c in cut]
    whole = metric(name).score(
        [{"y": output[c]} for c in cut], [{"y": reference[c]} for c in cut], sizes=sizes
    )
    assert whole == score(name, output, reference)


@given(names, pairs(), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_an_output_that_is_not_finite_never_passes(
    name: str, pair: tuple[Array, Array], odd: float, data: st.DataObject
) -> None:
    reference, output = pair[0].copy(), pair[1].copy()
    at = data.draw(st.integers(0, output.size - 1))
    output.flat[at] = odd
    accuracy = score(name, output, reference)
    assert accuracy.loss == accuracy.upper == accuracy.by_output["y"] == math.inf
    # and neither does a number where the reference has none, nor another kind of none
    reference.flat[at] = -odd if math.isinf(odd) else math.inf
    assert score(name, output, reference).loss == math.inf
    reference.flat[at] = odd
    assert math.isfinite(score(name, output, reference).loss)
    assert score(name, pair[1], reference).loss == math.inf


@given(pairs())
def test_rel_l2_is_what_the_formula_says(pair: tuple[Array, Array]) -> None:
    reference, output = (a.astype(np.float64) for a in pair)
    norm = float(np.linalg.norm(reference))
    if norm < 1e-3:
        return
    wanted = float(np.linalg.norm(output - reference)) / norm
    assert score("rel-l2", output, reference).loss == pytest.approx(wanted, rel=1e-5)


@given(hnp.arrays(np.float32, (9, 3), elements=st.floats(-1e3, 1e3, width=32)))
def test_a_reference_of_zeros_causes_no_division_by_zero(output: Array) -> None:
    for name in CONTINUOUS:
        assert math.isfinite(score(name, output, np.zeros_like(output)).loss)


@given(pairs())
def test_cosine_is_bounded(pair: tuple[Array, Array]) -> None:
    assert 0 <= score("cosine", pair[1], pair[0]).loss <= 2 + 1e-12
    assert score("cosine", np.negative(pair[0]), pair[0]).loss <= 2 + 1e-12


def test_max_abs_is_the_largest_difference() -> None:
    reference = np.zeros((3, 2), np.float32)
    output = reference.copy()
    output[2, 1] = -0.25
    accuracy = score("max-abs", output, reference)
    assert accuracy.loss == 0.25
    assert accuracy.upper == pytest.approx(0.255)
    assert accuracy.per_sample == (0, 0, 0.25)


@given(st.sampled_from(["sqnr", "psnr"]), st.floats(0, 200), st.floats(0, 200))
def test_decibels_map_monotonically_and_back(name: str, a: float, b: float) -> None:
    m = metric(name)
    assert m.unit == "dB"
    assert m.display(m.bound(a)) == pytest.approx(a, abs=1e-9)
    if a < b:
        assert m.bound(a) >= m.bound(b)
    assert m.display(0.0) == math.inf


def test_a_tolerance_of_30_db_means_at_least_30_db() -> None:
    reference = np.random.default_rng(0).normal(size=(50, 10))
    for noise, passes in ((10**-1.45, False), (10**-1.55, True)):  # 29 and 31 dB
        output = reference * (1 + noise)
        assert (score("sqnr", output, reference).loss <= metric("sqnr").bound(30)) is passes
    span = float(reference.max() - reference.min())
    loss = score("psnr", reference + span / 100, reference).loss
    assert metric("psnr").display(loss) == pytest.approx(40)


@pytest.mark.parametrize("name", list(METRICS))
@pytest.mark.parametrize("tolerance", [-1.0, math.nan, math.inf])
def test_tolerances_without_meaning_are_refused(name: str, tolerance: float) -> None:
    with pytest.raises(OptionError):
        metric(name).bound(tolerance)


@given(st.integers(0, 2**32))
def test_the_upper_estimate_is_deterministic_in_the_seed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(40, 5))
    output = reference + rng.normal(size=(40, 5)) * rng.random((40, 1)) * 0.1
    rows, wanted = feeds(output), feeds(reference)
    first = metric("rel-l2").score(rows, wanted, seed=seed)
    assert first == metric("rel-l2").score(rows, wanted, seed=seed)
    assert first.loss < first.upper < 1.5 * first.loss


def test_the_upper_estimate_covers_most_fresh_draws() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        errors = rng.lognormal(-5, 0.6, size=100)  # relative errors as they are seen in practice
        output = np.ones((100, 1)) + errors[:, None]
        upper = metric("rel-l2").score(feeds(output), feeds(np.ones((100, 1))), seed=trial).upper
        truth = math.sqrt(math.exp(-10 + 2 * 0.36))
        covered += truth <= upper
    assert covered >= 150


def test_few_samples_get_a_plain_margin() -> None:
    accuracy = score("rel-l2", np.full((7, 2), 1.1), np.ones((7, 2)))
    assert accuracy.upper == pytest.approx(1.02 * accuracy.loss)


# A part of the least subnormal number is no number of FP64.
@given(
    hnp.arrays(np.float64, st.integers(1, 9), elements=st.floats(0, 1e300, allow_subnormal=False))
)
def test_aggregates_neither_overflow_nor_vanish(errors: npt.NDArray[np.float64]) -> None:
    for aggregation in (Aggregation.RMS, Aggregation.MEAN, Aggregation.MAX):
        loss = aggregate(errors, np.ones_like(errors), aggregation)
        assert 0 <= loss <= errors.max() * (1 + 1e-12)
        assert (loss == 0) == (errors.max() == 0)


def test_unknown_metrics_are_listed() -> None:
    with pytest.raises(OptionError, match="rel-l2, rel-l2-max"):
        metric("relative")
