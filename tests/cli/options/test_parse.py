"""Values of options, good and bad."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.cli.options.parse import (
    integer,
    parse_duration,
    parse_precisions,
    parse_shapes,
    real,
)
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("45", 45), (" 1.5 H ", 5400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "0", "0s", "1d", "5 5", "1e3", "inf", "٣s"])
def test_invalid_durations_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--time-budget takes a time such as 90s"):
        parse_duration(text)


def test_precisions_are_ordered_and_unique() -> None:
    assert parse_precisions("int8, FP32,int8") == (Precision.FP32, Precision.INT8)


@pytest.mark.parametrize("text", ["", ",", "fp6", "fp32;int8"])
def test_invalid_precisions_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--precisions"):
        parse_precisions(text)


def test_shapes() -> None:
    assert parse_shapes(["x:8x3x224x224", "a:b:0:2X1", "s:"]) == {
        "x": (8, 3, 224, 224),
        "a:b:0": (2, 1),
        "s": (),
    }


@pytest.mark.parametrize("text", ["", "x", ":3", "x:3x", "x:-1", "x:axb", "x:1x1e3"])
def test_invalid_shapes_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--input-shape takes NAME:SIZExSIZE"):
        parse_shapes([text])


def test_an_input_is_named_once() -> None:
    with pytest.raises(OptionError, match="twice"):
        parse_shapes(["x:1", "x:2"])


def test_numbers() -> None:
    assert integer("--n", 0)("7") == 7
    assert real("--tol")("1e-2") == 0.01


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (integer("--n", 1), "0"),
        (integer("--n", 0), "1.5"),
        (integer("--n", 0), "9" * 5000),
        (real("--n"), "nan"),
        (real("--n"), "1,5"),
    ],
)
def test_invalid_numbers_are_refused(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(OptionError, match="--n takes a"):
        parse(text)


@given(st.text())
def test_parsers_raise_option_errors_alone(text: str) -> None:
    parsers: tuple[Callable[[str], object], ...] = (
        parse_duration,
        parse_precisions,
        lambda t: parse_shapes([t]),
        integer("--n", 0),
        real("--n"),
    )
    for parse in parsers:
        with contextlib.suppress(OptionError):
            parse(text)
