"""`verify --artifact` measures the very file that ships, and says what it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import precsearch
from precsearch.cli.main import run
from precsearch.core.errors import InputError, ReplayError
from tests.backends.trt.stand_in.choosing_backend import BUILT, DRIVER

PLAN, MODEL, DATA = "model.plan.json", "model.onnx", "data.npz"


def verified(artifact: str) -> precsearch.VerifyReport:
    return precsearch.verify(PLAN, MODEL, DATA, artifact=artifact)


def heavier(model: bytes) -> bytes:
    """The model with other weights."""
    proto = onnx.load_from_string(model)
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 2 and array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array * np.float32(1.5), tensor.name))
    made: bytes = proto.SerializeToString()
    return made


@pytest.mark.usefixtures("chosen")
def test_the_engine_of_the_search_has_the_kernels_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(BUILT, "built.txt")
    report = verified("first.engine")
    assert report.loss <= report.tolerance  # whether it is fast enough, too, is measured time
    assert report.engine == "first.engine, made of the kernels that the plan was measured with"
    assert len(Path("built.txt").read_text().split()) == 1, "FP32's engine, and no other"


@pytest.mark.usefixtures("chosen")
def test_other_kernels_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DRIVER, "2")
    precsearch.build(PLAN, MODEL, "other.engine")
    kernel = Path("other.engine").read_bytes()[:16].decode()
    said = f"other.engine, 1 of 1 layers are built otherwise: all of it: kernel {kernel}"
    assert verified("other.engine").engine == said


@pytest.mark.usefixtures("chosen")
def test_an_engine_that_computes_something_else_is_not_verified(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = Path("first.engine").read_bytes()
    Path("wrong.engine").write_bytes(first[:16] + heavier(first[16:]))
    assert not verified("wrong.engine").passed
    line = ["verify", PLAN, "--model", MODEL, "--data", DATA, "--artifact", "wrong.engine"]
    assert run(line) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert "not verified: the loss is not within rel-l2" in said
    assert "engine wrong.engine, made of the kernels that the plan was measured with" in said


@pytest.mark.usefixtures("chosen")
def test_a_file_that_is_not_an_engine_of_this_machine_is_refused() -> None:
    Path("no.engine").write_bytes(b"not an engine of this backend at all")
    with pytest.raises(ReplayError, match=r"'no\.engine' cannot be measured here: .*build it on"):
        verified("no.engine")
    with pytest.raises(InputError, match=r"'missing\.engine' cannot be read \(No such file"):
        verified("missing.engine")


@pytest.mark.usefixtures("chosen")
def test_the_model_must_be_the_one_of_the_plan() -> None:
    precsearch.build(PLAN, MODEL, "lowered.onnx")
    assert verified("lowered.onnx").engine == ""
    Path("edited.onnx").write_bytes(heavier(Path("lowered.onnx").read_bytes()))
    with pytest.raises(ReplayError, match=r"'edited\.onnx' is not the plan's model byte for byte"):
        verified("edited.onnx")
