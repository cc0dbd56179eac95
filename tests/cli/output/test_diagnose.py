"""How a diagnosis and a checked engine are shown: on a terminal, as JSON and as a table."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.text import Text

from precsearch.cli.output import diagnose as cli
from precsearch.cli.output import diagnosis_values as values
from precsearch.cli.output.page import Page
from precsearch.core.precision import Precision
from precsearch.diagnosis.miscompilation import Checked
from precsearch.diagnosis.reproducer import Miscompiled
from precsearch.diagnosis.result import Constant, Diagnosis, Layer
from precsearch.metrics.similarity import Similarity
from precsearch.rewrites.search import Suggestion

ALIKE = Similarity(
    relative=1e-4,
    euclidean=0.1,
    cosine=1.0,
    max_abs=0.01,
    sqnr_db=80.0,
    reference_absmax=2.0,
    nonfinite=0.0,
    subnormal=0.0,
    absmax=2.0,
)
PAGE = Page(80)


def layer(tensor: str, op_type: str = "Add", *reads: str, **more: object) -> Layer:
    """One whose difference does not arise there, but for what ``more`` says."""
    alike = replace(ALIKE, **{k: v for k, v in more.items() if hasattr(ALIKE, k)})  # type: ignore[arg-type]
    rest = {k: v for k, v in more.items() if not hasattr(ALIKE, k)}
    found = Layer(
        *(tensor, op_type, tensor, tensor, "node", "block1", Precision.FP16, None, (2, 8)),
        *(alike, reads, 1e-4, False),
    )
    return replace(found, **rest)  # type: ignore[arg-type]


def found(*layers: Layer, loss: float = 0.5, **more: object) -> Diagnosis:
    made = Diagnosis("m.onnx", "all FP16", "rounded", {"y": loss}, layers, (), 8, False)
    return replace(made, **more)  # type: ignore[arg-type]


def page(told: list[Text]) -> str:
    return " ".join(" ".join(map(str, told)).split())


def said(diagnosis: Diagnosis, order: str = "worst") -> str:
    return page(cli.lines(diagnosis, PAGE, order))


@pytest.mark.parametrize(
    ("op_type", "nonfinite", "subnormal", "told"),
    [
        ("Log", 0.2, 0.4, True),
        ("Div", 0.2, 0.4, True),
        ("Log", 0.0, 0.4, False),
        ("Log", 0.2, 0.001, False),
        ("Add", 0.2, 0.4, False),
    ],
)
def test_the_input_of_a_logarithm_is_named_as_the_cause(
    op_type: str, nonfinite: float, subnormal: float, told: bool
) -> None:
    small = layer("small", "Mul", subnormal=subnormal)
    other = layer("other", "Mul", subnormal=0.9)
    jump = layer("log", op_type, "small", jump=True, relative=math.inf, nonfinite=nonfinite)
    out = said(found(small, other, jump))
    assert ("(40% of what it reads is under FP16's normal range)" in out) == told
    assert "90%" not in out.partition("samples")[0]


def test_a_rewrite_that_changes_fp32_is_reported_as_useless() -> None:
    inexact = Suggestion("scale-variance", "scale it", ("a", "b"), 0.02, 0.5, 0.5)
    exact = Suggestion("clamp-constants", "clamp it", ("m",), 1e-7, 0.5, 1e-4, b"")
    out = said(found(layer("a"), suggestions=(exact, inexact)))
    assert "✗ scale-variance (2 places): scale it; not exact here, it moves FP32 by 0.02" in out
    assert "✓ clamp-constants (1 place): clamp it; 0.5 → 1.0e-04, FP32 moves by 1.0e-07" in out


def test_only_the_worst_tensors_are_shown_unless_all_are_requested() -> None:
    rows = [layer(f"t{i:02d}", relative=(i + 1) * 1e-5) for i in range(26)]
    rows[3] = replace(rows[3], jump=True)
    out = said(found(*rows))
    assert "6 tensors more: --order graph shows all" in out
    assert "t25" in out
    assert "t03" in out, "the cause, though its difference is small"
    assert "t00" not in out
    assert "more: --order" not in said(found(*rows), "graph")


def test_notes_and_the_first_three_constants_are_shown() -> None:
    many = tuple(Constant(f"mask{i}", 3.4e38, (f"add{i}", "more")) for i in range(5))
    out = said(found(layer("a"), constants=many, notes=("looking inside changed it",), random=True))
    assert "'mask2' holds 3.4e+38, which FP16 has no number for; 'add2' reads it" in out
    assert "mask3" not in out
    assert "! looking inside changed it" in out
    assert "8 of random numbers" in out


def test_a_model_without_tensors_has_an_empty_table() -> None:
    assert said(found(loss=0.0)).startswith("m.onnx: all FP16 is off by 0 from FP32")
    assert values.csv_of(found()) == "tensor\n"


def test_json_and_csv_hold_values_that_json_has_no_numbers_for() -> None:
    made = found(layer("a", relative=math.inf, cosine=math.nan, alone=math.inf), loss=math.inf)
    fields = json.loads(json.dumps(values.fields(made), allow_nan=False))
    (row,) = fields["layers"]
    assert (row["relative"], row["cosine"], row["alone"]) == ("inf", "nan", "inf")
    assert fields["losses"] == {"y": "inf"}
    (line,) = csv.DictReader(io.StringIO(values.csv_of(made)))
    assert (line["shape"], line["relative"]) == ("2x8", "inf")


WRONG = Miscompiled(
    *("scores", "/q/MatMul", "MatMul", math.inf, 5, 3, ("a", "b"), b"", {}, {}, {}),
)


@pytest.mark.parametrize(
    ("not_built", "before", "words"),
    [
        (0, 0, ""),
        (1, 0, "1 engine of a part of the model did not build or run; those beside them told"),
        (2, 3, "2 engines of a part of the model did not build or run: the fault may be up to 3"),
    ],
)
def test_what_stayed_unknown_of_a_wrong_engine_is_reported(
    not_built: int, before: int, words: str
) -> None:
    checked = Checked(
        "m.onnx", "tensorrt", 40, replace(WRONG, not_built=not_built, before=before), False
    )
    out = page(cli.engine_lines(checked, Path("r"), PAGE))
    assert words in out
    assert ("did not build or run" in out) == bool(not_built)
    assert "2 nodes of 40 still show it" in out
    fields = values.engine_fields(checked, Path("r"))
    assert (fields["right"], fields["difference"], fields["before"]) == (False, "inf", before)


def test_a_correct_engine_is_reported_in_one_line() -> None:
    checked = Checked("m.onnx", "tensorrt", 40, None, True)
    (line,) = cli.engine_lines(checked, Path("r"), PAGE)
    assert str(line) == "m.onnx: the FP32 engine of tensorrt gives what FP32 gives"
    assert "tensor" not in values.engine_fields(checked, Path("r"))
    assert values.engine_fields(checked, Path("r"))["right"] is True
    assert np.isinf(WRONG.difference)
