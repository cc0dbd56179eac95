"""What is printed to be copied can be copied; what goes into a table stays a table."""

from __future__ import annotations

import csv
import io
import math
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.api import OptimizeConfig, OptimizeResult
from precsearch.cli.output.diagnosis_values import csv_of
from precsearch.cli.output.next_steps import next_steps
from precsearch.core.precision import Precision
from precsearch.diagnosis.result import Diagnosis, Layer
from precsearch.metrics.similarity import Similarity
from precsearch.system.shell import argument, command
from tests.cli.runs import plan

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
BASH = shutil.which("bash")


@settings(max_examples=300)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_command_is_one_printable_line_that_a_shell_reads_back(words: list[str]) -> None:
    line = command(*words)
    assert line.isprintable()
    if all(w.isprintable() for w in words):
        assert shlex.split(line) == ["precsearch", *words]


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@settings(max_examples=40)
@given(st.lists(NAMES | st.sampled_from(["a\udcffb", "\x1b[31m", "it's", "-m", "~", "!x"])))
def test_bash_reads_what_cannot_be_printed(words: list[str]) -> None:
    line = command(*words).partition(" ")[2]
    done = subprocess.run(
        [str(BASH), "--norc", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True
    )
    wanted = b"".join(w.encode("utf-8", "surrogateescape") + b"\0" for w in words or [""])
    assert done.stdout == wanted


@pytest.mark.parametrize("name", ["-m", "--tol", "-"])
def test_a_path_is_never_taken_for_an_option(name: str) -> None:
    assert argument(Path(name)) == f"./{name}"
    assert argument(f"/a/{name}") == f"/a/{name}"


def test_the_next_commands_name_files_as_they_are() -> None:
    config = OptimizeConfig(Path("-m.onnx"), data=Path("my data.npz"), metric="-x.py:f")
    result = OptimizeResult(plan(), Path("-m.plan.json"), None, met=True, interrupted=False)
    build, verify = next_steps(config, result)
    assert build.startswith("precsearch build ./-m.plan.json --model ./-m.onnx -o ./-m.")
    words = "./-m.plan.json --model ./-m.onnx --data 'my data.npz' --metric ./-x.py:f"
    assert verify == f"precsearch verify {words}"


LAYER = Layer(
    tensor="y",
    op_type="Conv",
    node="n",
    group="g",
    kind="conv",
    block="",
    precision=Precision.FP16,
    achieved=None,
    shape=(1, 2),
    likeness=Similarity(0.5, -1.0, math.inf, 0.1, -3.0, 1.0, 1.0, 0.0, 0.0, 2),
    reads=(),
    before=-math.inf,
    jump=True,
)


@settings(max_examples=200)
@given(st.text() | st.builds(str.__add__, st.sampled_from(list("=+-@\t\r\n ")), st.text()))
def test_no_csv_cell_is_a_formula_or_moves_a_cursor(name: str) -> None:
    layer = replace(LAYER, tensor=name, group=name)
    text = csv_of(Diagnosis("m", "all", "emulated", {}, (layer,), (), 1, random=False))
    (row,) = csv.DictReader(io.StringIO(text))
    for column in ("tensor", "group"):
        assert not row[column].strip().startswith(("=", "+", "-", "@"))
        assert row[column].isprintable()
    assert [row[c] for c in ("cosine", "relative", "sqnr_db", "before", "shape")] == [
        *("-1.0", "inf", "-3.0", "-inf", "1x2"),
    ]
    assert len(text.splitlines()) == 2
