"""The documentation's example of FP16: it overflows, and a rewrite repairs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from examples.overflow.make_model import TOKENS, WIDTH, model
from precsearch.cli.main import run


def test_the_overflow_is_named_and_a_rewrite_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    made = model()
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, "overflow.onnx")
    samples = np.random.default_rng(1).standard_normal((8, TOKENS, WIDTH)).astype(np.float32)
    np.savez("samples.npz", x=samples)

    def diagnosed(name: str, *more: str) -> dict[str, Any]:
        line = ["diagnose", name, "--data", "samples.npz", "--precision", "fp16", "--json", *more]
        assert run(line) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    sick = diagnosed("overflow.onnx", "--suggest", "--rewritten", "repaired.onnx")
    assert sick["losses"]["y"] > 0.5
    infinite = [row["op_type"] for row in sick["layers"] if row["nonfinite"] > 0]
    assert infinite[0] == "Pow"
    assert diagnosed("repaired.onnx")["losses"]["y"] < 1e-2
