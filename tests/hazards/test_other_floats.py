"""The rules in BF16: it has FP32's range, and a significand of 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from precsearch.core.formats import BFLOAT16, FLOAT16, FLOAT32
from precsearch.core.precision import Precision
from precsearch.hazards.statistics import ScreenStatistics, Tally
from tests.graph.small_graphs import GraphBuilder
from tests.hazards.by_rule import Ruled

BF16, FP16 = Precision.BF16, Precision.FP16


def test_what_overflows_in_fp16_does_not_in_bf16() -> None:
    made = Ruled(lambda b, x: b.op("Mul", x, b.const(1e6)))
    assert made.reasons(FP16)
    assert made.reasons(BF16) == {}


def test_the_most_negative_fp32_number_is_infinite_in_bf16_too() -> None:
    def build(b: GraphBuilder, x: str) -> str:
        return b.op("Mul", b.op("Max", x, b.const(-FLOAT32.largest)), b.const(-1e-38))

    made = Ruled(build, np.full((4, 64), -FLOAT32.largest, np.float32))
    assert all("3.3895e+38" in reason for reason in made.reasons(BF16).values())
    assert made.reasons(BF16)


@pytest.mark.parametrize(("last", "excluded"), [(256, ()), (700, (BF16,)), (3000, (BF16, FP16))])
def test_whole_numbers_are_lost_beyond_the_significand(
    last: int, excluded: tuple[Precision, ...]
) -> None:
    def build(b: GraphBuilder, x: str) -> str:
        places = b.const(np.linspace(0, last, 64).round())
        return b.op("Add", x, places)

    made = Ruled(build)
    assert tuple(p for p in (BF16, FP16) if made.reasons(p)) == excluded
    for precision in excluded:
        assert precision.value.upper() in next(iter(made.reasons(precision).values()))


def test_a_small_tensor_is_no_hazard_in_bf16() -> None:
    made = Ruled(lambda b, x: b.op("Mul", b.op("Mul", x, b.const(1e-7)), b.const(1e7)))
    assert made.reasons(FP16)
    assert made.reasons(BF16) == {}


def test_the_statistics_of_a_format_are_those_of_its_rounding() -> None:
    values = np.random.default_rng(0).normal(0, 1, 4096).astype(np.float32)
    tallies = {stored_as: Tally(stored_as) for stored_as in (FLOAT16, BFLOAT16)}
    for tally in tallies.values():
        tally.add(values)
    half, brain = (tally.result() for tally in tallies.values())
    assert half is not None
    assert brain is not None
    assert (half.rms, half.low, half.high) == (brain.rms, brain.low, brain.high)
    assert 7 < brain.error / half.error < 9  # three bits less
    found = ScreenStatistics({"t": half}, {}, {"bfloat16": {"t": brain}})
    assert (found.rounded_to(FLOAT16)["t"], found.rounded_to(BFLOAT16)["t"]) == (half, brain)
    assert found.rounded_to(FLOAT32) == {}
