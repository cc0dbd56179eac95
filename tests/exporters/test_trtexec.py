"""The script that `export` writes for trtexec says per layer what the plan says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from precsearch import api
from precsearch.core.backend import WEAK
from tests.backends.trt.simulation.test_simulated_build import built, networks, small_model
from tests.backends.trt.stand_in.exported import (
    HELP,
    MIXED,
    ODD,
    as_trtexec_reads,
    odd_model,
    option,
    ran,
)
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.plans import write_plan


@pytest.mark.parametrize("layer_precisions", ["fp32", "all"])
def test_trtexec_gets_the_layer_of_each_node(
    layer_precisions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"layer_precisions": layer_precisions}
    plan = write_plan(
        tmp_path,
        odd_model(),
        "weak",
        {"second": "int8", "fi,rst": "fp16"},
        options,
    )
    report = api.export(plan, None, "trtexec", tmp_path / "out")
    code, words, _ = ran(report.script, HELP["8"], tmp_path / "bin")
    assert code == 0
    made = tensorrt("8.6.0")
    found = networks(made, monkeypatch)
    built(made, report.model.read_bytes(), WEAK, layer_precisions=layer_precisions)
    named = {
        layer.name: {"FLOAT": "fp32", "HALF": "fp16"}[layer.precision.name]
        for layer in found[0].layers
        if "_precision" in layer.__dict__ and not layer.name.startswith("(Unnamed")
    }
    assert as_trtexec_reads(option(words, "layerPrecisions")) == named
    types = as_trtexec_reads(option(words, "layerOutputTypes"))
    assert types == {n: p for n, p in named.items() if n != "y"}
    assert {"--fp16", "--int8", "--precisionConstraints=obey", "--avgTiming=8"} <= set(words)
    assert option(words, "onnx") == report.model.name


def test_nodes_whose_names_trtexec_cannot_take_are_renamed(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, odd_model(), "weak", ODD)
    report = api.export(plan, None, "trtexec", tmp_path / "out")
    assert not report.identical
    assert "is 'den_se_'" in report.notes[0]
    plain = api.export(plan, None, "polygraphy", tmp_path / "plain")
    feed = {"x": np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)}
    outputs = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)[0]
        for path in (report.model, plain.model)
    ]
    assert np.array_equal(*outputs)


def test_names_too_long_for_one_argument_become_short(tmp_path: Path) -> None:
    model = small_model()
    long = {"first": "f" * 30_000, "dense": "d" * 30_000}
    for node in model.graph.node:
        node.input[:] = [long.get(t, t) for t in node.input]
        node.output[:] = [long.get(t, t) for t in node.output]
    plan = write_plan(tmp_path, model, "weak", {"second": "fp16"})
    report = api.export(plan, None, "trtexec", tmp_path / "out")
    _, words, _ = ran(report.script, HELP["10"], tmp_path / "bin")
    names = set(as_trtexec_reads(option(words, "layerPrecisions")))
    assert max(map(len, names)) < 10
    assert names <= {node.name for node in onnx.load(report.model).graph.node}


@pytest.mark.parametrize(("tensorrt_", "flags"), [("10", ["--stronglyTyped"]), ("11", [])])
def test_a_typed_plan_asks_trtexec_for_no_precision(
    tensorrt_: str, flags: list[str], tmp_path: Path
) -> None:
    plan = write_plan(tmp_path, small_model(), "typed-half", MIXED, {"tf32": "false"})
    report = api.export(plan, None, "trtexec", tmp_path / "out")
    code, words, _ = ran(report.script, HELP[tensorrt_], tmp_path / "bin")
    assert code == 0
    assert words[: len(flags)] == flags
    rest = {w.partition("=")[0] for w in words[len(flags) :]}
    assert rest == {
        *("--onnx", "--saveEngine", "--memPoolSize"),
        *("--builderOptimizationLevel", "--avgTiming", "--noTF32"),
    }


@pytest.mark.parametrize(
    ("form", "tensorrt_", "said"),
    [("typed-half", "8", "ignores the types"), ("weak", "11", "sets no layer precisions")],
)
def test_a_script_refuses_a_trtexec_that_would_ignore_the_plan(
    form: str, tensorrt_: str, said: str, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path, small_model(), form, MIXED)
    report = api.export(plan, None, "trtexec", tmp_path / "out")
    code, words, error = ran(report.script, HELP[tensorrt_], tmp_path / "bin")
    assert (code, words) == (2, [])
    assert said in error
