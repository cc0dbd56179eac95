"""What cannot be compared: outputs of another size, NaN, infinities. Each has its own words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.backend import Array, Feed
from precsearch.core.mismatch import FINITE, INFINITE, NAN, SIZE, Mismatch, sentences, sizes_alone
from precsearch.metrics import metric
from precsearch.metrics.custom import Custom
from precsearch.metrics.mismatches import mismatches
from tests.metrics.scored import CONTINUOUS

ODD = [math.nan, math.inf, -math.inf]


def boxes(*counts: int) -> list[Feed]:
    return [{"boxes": np.ones((n, 4), np.float32)} for n in counts]


@given(counts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_a_loss_is_infinite_exactly_where_a_size_differs_and_the_verdict_counts_the_samples(
    counts: list[tuple[int, int]],
) -> None:
    found, wanted = boxes(*(a for a, _ in counts)), boxes(*(b for _, b in counts))
    unequal = sum(a != b for a, b in counts)
    for name in CONTINUOUS:
        accuracy = metric(name).score(found, wanted)
        assert math.isfinite(accuracy.loss) == (unequal == 0)
        if not unequal:
            assert accuracy.mismatches == ()
            continue
        (odd,) = accuracy.mismatches
        assert (odd.kind, odd.samples, odd.total) == (SIZE, unequal, len(counts))
        first = next((a, b) for a, b in counts if a != b)
        assert (odd.found[0], odd.wanted[0]) == first
        assert "not finite" not in str(odd)


@given(
    samples=st.integers(1, 6),
    places=st.dictionaries(st.integers(0, 5), st.sampled_from(ODD), max_size=6),
    batch=st.booleans(),
)
def test_nan_is_called_nan_and_an_infinity_an_infinity(
    samples: int, places: dict[int, float], batch: bool
) -> None:
    rows = np.ones((samples, 3), np.float32)
    odd = rows.copy()
    for place, value in places.items():
        odd[place % samples, place % 3] = value
    nan = int(np.isnan(odd).any(axis=1).sum())
    infinite = int((np.isinf(odd).any(axis=1) & ~np.isnan(odd).any(axis=1)).sum())

    def kinds(found: Array, wanted: Array) -> dict[str, int]:
        a, b = ([{"y": x}] if batch else [{"y": r[None]} for r in x] for x in (found, wanted))
        sizes = (samples,) if batch else (1,) * samples
        accuracy = metric("rel-l2").score(a, b, sizes=sizes)
        assert math.isfinite(accuracy.loss) == (not accuracy.mismatches)
        return {m.kind: m.samples for m in accuracy.mismatches}

    assert kinds(odd, rows) == {k: n for k, n in ((NAN, nan), (INFINITE, infinite)) if n}
    assert kinds(odd, odd) == {}, "what the reference holds, too, is right"
    assert kinds(rows, odd) == ({FINITE: nan + infinite} if nan + infinite else {})


def test_infinities_of_the_other_sign_are_wrong() -> None:
    (odd,) = (
        metric("max-abs").score([{"y": np.array([[np.inf]])}], [{"y": np.array([[-np.inf]])}])
    ).mismatches
    assert odd.kind == INFINITE


def test_the_words() -> None:
    fewer = Mismatch("boxes", SIZE, 3, 40, (20, 4), (21, 4))
    assert str(fewer) == (
        "output 'boxes' has another number of rows than the reference on 3 of 40 samples "
        "(20 for 21 on the first of them)"
    )
    assert "shape than the reference on 1 of 2 samples ((1, 2) for (1, 3)" in str(
        Mismatch("y", SIZE, 1, 2, (1, 2), (1, 3))
    )
    assert str(Mismatch("y", NAN, 2, 4)) == (
        "output 'y' holds NaN where the reference does not, on 2 of 4 samples"
    )
    alike = Mismatch("scores", SIZE, 3, 40, (20,), (21,))
    assert sentences([fewer, alike]) == (
        "outputs 'boxes' and 'scores' have another number of rows than the reference on 3 of 40 "
        "samples (20 for 21 on the first of them)",
    )
    assert len(sentences([fewer, Mismatch("y", NAN, 2, 4)])) == 2
    assert sizes_alone([fewer, alike])
    assert not sizes_alone([fewer, Mismatch("y", NAN, 2, 4)])
    assert not sizes_alone([])


def test_a_custom_metric_sees_both_sizes_as_they_are() -> None:
    seen: list[tuple[int, int]] = []

    def missed(outputs: Sequence[Feed], reference: Sequence[Feed], labels: object) -> list[float]:
        rows = [(len(o["boxes"]), len(r["boxes"])) for o, r in zip(outputs, reference, strict=True)]
        seen.extend(rows)
        return [abs(a - b) / max(b, 1) for a, b in rows]

    accuracy = Custom("mine.py:missed", missed).score(boxes(3, 4, 2), boxes(4, 4, 2))
    assert seen == [(3, 4), (4, 4), (2, 2)]
    assert accuracy.loss == pytest.approx(0.25 / 3)
    assert accuracy.mismatches[0].samples == 1


def test_a_custom_metric_that_takes_one_size_alone_loses_the_engine_and_not_the_run() -> None:
    def plain(outputs: Sequence[Feed], reference: Sequence[Feed], labels: object) -> float:
        pairs = zip(outputs, reference, strict=True)
        return float(max(np.abs(np.subtract(o["boxes"], r["boxes"])).max() for o, r in pairs))

    custom = Custom("mine.py:plain", plain)
    accuracy = custom.score(boxes(3), boxes(4))
    assert accuracy.loss == math.inf
    assert sizes_alone(accuracy.mismatches)
    assert custom.score(boxes(4), boxes(4)).loss == 0


@pytest.mark.parametrize("rows", [3, 4])
def test_a_custom_metric_is_not_called_with_nan(rows: int) -> None:
    def never(*_: object) -> float:
        raise AssertionError("called")

    found: list[Feed] = [{"boxes": np.full((rows, 4), np.nan, np.float32)}]
    accuracy = Custom("mine.py:never", never).score(found, boxes(4))
    assert accuracy.loss == math.inf
    assert NAN in {m.kind for m in accuracy.mismatches}


@pytest.mark.parametrize("name", ["top1", "top1-agree"])
def test_a_classifier_is_judged_by_its_classes_whatever_the_size_of_other_outputs(
    name: str,
) -> None:
    scores = {"y": np.eye(2, 3, dtype=np.float32)}
    found: list[Feed] = [{**scores, "found": np.ones((3,), np.float32)}]
    wanted: list[Feed] = [{**scores, "found": np.ones((4,), np.float32)}]
    accuracy = metric(name).score(found, wanted, np.array([0, 1]))
    assert accuracy.loss == 0
    assert sizes_alone(accuracy.mismatches)


def test_samples_of_bfloat16_are_compared_too() -> None:
    import ml_dtypes

    wanted = np.ones((1, 2), ml_dtypes.bfloat16)
    found = wanted.copy()
    found[0, 0] = np.nan
    assert [m.kind for m in mismatches([{"y": found}], [{"y": wanted}], (1,), ["y"])] == [NAN]
