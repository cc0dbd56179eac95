"""Numbers and names as people read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from precsearch.cli.cells import (
    ASCII,
    UNICODE,
    Scale,
    clean,
    counts,
    duration,
    magnitude,
    many,
    middle,
    milliseconds,
    number,
    speedup,
    speedup_interval,
)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.7, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (3780, "1h03m"),
        (math.inf, "?"),
        (math.nan, "?"),
        (-1, "?"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(0.433, "2.31x"), (1, "1.00x"), (0, "?"), (math.nan, "?"), (1e-3, "1e3x"), (-1, "?")],
)
def test_speedup(ratio: float, shown: str) -> None:
    assert speedup(ratio) == shown


def test_an_interval_turns_round() -> None:
    assert speedup_interval(0.4, 0.5) == "2.00 to 2.50"
    assert speedup_interval(math.nan, 0.5) == ""
    assert speedup_interval(0, 0.5) == ""


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0079812, "0.00798"), (1.234e-5, "1.23e-5"), (0, "0"), (1e20, "1e20")]
)
def test_number(value: float, shown: str) -> None:
    assert number(value) == shown


def test_units() -> None:
    assert milliseconds(9.12e-5) == "91.2 us"
    assert milliseconds(2.84e-3) == "2.84 ms"
    assert milliseconds(2.84) == "2.84 s"
    assert [magnitude(v) for v in (950, 12_300, 4_090_000, 1.2e9, 1.2345e12)] == [
        "950",
        "12.3k",
        "4.09M",
        "1.2G",
        "1234G",
    ]
    assert [many(1, "proxy", "proxies"), many(2, "proxy", "proxies"), many(0, "node")] == [
        "1 proxy",
        "2 proxies",
        "0 nodes",
    ]


def test_counts() -> None:
    assert counts({"fp32": 12, "int8": 41, "fp16": 0}) == "41 int8 · 12 fp32"
    assert counts({}) == ""


def test_scale() -> None:
    plain, decibel, own = Scale("rel-l2"), Scale("sqnr", ASCII), Scale("mine:loss")
    assert plain.bound(0.01) == "rel-l2 ≤ 0.01"
    assert decibel.bound(0.01) == "sqnr >= 40 dB"
    assert own.bound(3) == "mine:loss ≤ 3"
    assert plain.share(0.0079, 0.01) == "79 %"
    assert plain.share(0.5, 0.01) == "50x"
    assert plain.share(math.inf, 0.01) == plain.share(0.1, 0) == ""


@given(st.text(), st.integers(0, 40), st.sampled_from([UNICODE, ASCII]))
def test_middle_fits(text: str, width: int, glyphs: object) -> None:
    kept = middle(clean(text), width, UNICODE if glyphs is UNICODE else ASCII)
    assert cell_len(kept) <= width
    if cell_len(clean(text)) <= width:
        assert kept == clean(text)


def test_middle_keeps_both_ends() -> None:
    assert middle("/layer1/layer1.0/conv2/Conv_output_0", 16) == "/layer1/…utput_0"


@given(st.text())
def test_clean_leaves_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) == len(text)
