"""A metric that is the user's own function."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError, OptionError, PrecsearchError
from precsearch.core.trial import Accuracy, Aggregation
from precsearch.metrics import metric

REFERENCE: list[Feed] = [{"y": np.full((1, 2), float(i))} for i in range(10)]
OUTPUT: list[Feed] = [{"y": np.full((1, 2), i + 0.5)} for i in range(10)]


def run(folder: Path, body: str, labels: Array | None = None) -> Accuracy:
    path = folder / "mine.py"
    path.write_text(f"import numpy as np\n\ndef loss(outputs, reference, labels):\n    {body}\n")
    return metric(f"{path}:loss").score(OUTPUT, REFERENCE, labels, sizes=[1] * 10)


def test_a_number_is_the_loss(tmp_path: Path) -> None:
    accuracy = run(tmp_path, "return abs(outputs[0]['y'] - reference[0]['y']).max()")
    assert (accuracy.loss, accuracy.upper) == (0.5, 0.5)
    assert accuracy.aggregation is Aggregation.NONE
    assert accuracy.per_sample == ()


def test_an_array_is_averaged(tmp_path: Path) -> None:
    accuracy = run(tmp_path, "return np.arange(10) * labels", np.full(10, 0.1))
    assert accuracy.loss == pytest.approx(0.45)
    assert accuracy.loss < accuracy.upper <= 1.5 * accuracy.loss
    assert len(accuracy.per_sample) == 10


def test_negative_losses_keep_their_order(tmp_path: Path) -> None:
    accuracy = run(tmp_path, "return [-0.1] * 5")
    assert accuracy.loss == accuracy.upper == pytest.approx(-0.1)


@pytest.mark.parametrize("value", ["np.nan", "np.inf", "-np.inf", "[0.0, np.nan]"])
def test_a_loss_that_is_not_a_number_does_not_pass(tmp_path: Path, value: str) -> None:
    accuracy = run(tmp_path, f"return {value}")
    assert accuracy.loss == accuracy.upper == math.inf


def test_an_output_that_is_not_finite_does_not_reach_the_function(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def loss(outputs, reference, labels):\n    return 0.0\n")
    bad: list[Feed] = [{"y": np.full((1, 2), np.nan)}]
    assert metric(f"{path}:loss").score(bad, REFERENCE[:1]).loss == math.inf


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "returned nothing"),
        ("return 'high'", "failed"),
        ("return []", "returned nothing"),
        ("return np.ones((2, 2))", "return a number"),
        ("return outputs['y']", "TypeError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("return labels.mean()", "AttributeError"),
    ],
)
def test_failing_functions_are_reported(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path, body)


def test_modules_are_found_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_metric.py").write_text("def loss(o, r, l):\n    return 0.25\n")
    monkeypatch.chdir(tmp_path)
    found = metric("my_own_metric:loss")
    assert found.name == "my_own_metric:loss"
    assert found.score(OUTPUT, REFERENCE).loss == 0.25
    assert found.bound(0.5) == found.display(0.5) == 0.5


@pytest.mark.parametrize(
    "name",
    [
        "no_such_module:f",
        "numpy:no_such_function",
        "numpy:pi",
        "none.py:f",
        ":f",
        "numpy:",
        "a b:c",
        "..:f",
    ],
)
def test_missing_functions_are_reported(name: str) -> None:
    with pytest.raises(OptionError) as caught:
        metric(name)
    assert isinstance(caught.value, PrecsearchError)
    assert "\n" not in str(caught.value)
