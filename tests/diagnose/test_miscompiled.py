"""The first wrong tensor of an engine that miscompiles a pattern, and its reproducer."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from examples.miscompiled.make_model import TOKENS, WIDTH, model
from examples.miscompiled.miscompiling import Miscompiling
from precsearch.api.miscompiled import first_wrong
from precsearch.api.reproducer import Miscompiled, write_reproducer
from precsearch.backend import BackendOptions
from precsearch.backends.onnxruntime import OnnxRuntimeBackend
from precsearch.onnxio.cures import merged_scales, rewritten
from precsearch.onnxio.prepare import prepare
from precsearch.onnxio.read import read_model
from tests.diagnose.sick_models import SHAPE, split_scales
from tests.diagnose.wrong_backend import Wrong

OPTIONS = BackendOptions(threads=1)
FEED = {"x": np.random.default_rng(1).normal(0, 2, (2, *SHAPE[1:])).astype(np.float32)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Miscompiled:
    path = tmp_path_factory.mktemp("wrong") / "model.onnx"
    onnx.save(split_scales(), path)
    hunted = first_wrong(prepare(read_model(path)), Wrong(OPTIONS), FEED)
    assert hunted is not None
    return hunted


def test_it_is_found_within_its_bound_of_builds(found: Miscompiled) -> None:
    nodes = len(split_scales().graph.node)
    assert found.tensor == "attention/scores"
    assert found.op_type == "MatMul"
    assert found.difference > 0.1
    assert found.builds <= math.ceil(math.log2(nodes)) + 2


def test_the_example_of_the_story_is_found_out(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "attention.onnx")
    graph = prepare(read_model(tmp_path / "attention.onnx"))
    feed = {"x": np.random.default_rng(1).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)}
    hunted = first_wrong(graph, Miscompiling(OPTIONS), feed)
    assert hunted is not None
    assert (hunted.tensor, len(hunted.nodes)) == ("scores", 3)
    assert hunted.builds <= math.ceil(math.log2(len(graph.nodes))) + 2


def test_the_reproducer_is_the_pattern_and_nothing_else(found: Miscompiled) -> None:
    assert set(found.nodes) >= {"attention/qs", "attention/ks", "attention/scores"}
    assert set(found.nodes) <= {f"attention/{n}" for n in ("qs", "kt", "ks", "scores")}
    got = Wrong(OPTIONS).open(Wrong(OPTIONS).build(found.model)).run(found.inputs)
    right = OnnxRuntimeBackend(OPTIONS).open(found.model).run(found.inputs)
    np.testing.assert_array_equal(got[found.tensor], found.got[found.tensor])
    expected: Any = found.expected[found.tensor]
    assert np.allclose(right[found.tensor], expected, rtol=1e-4)
    assert not np.allclose(got[found.tensor], expected, rtol=0.1)


def test_whoever_gets_the_folder_can_run_it(found: Miscompiled, tmp_path: Path) -> None:
    folder = tmp_path / "reproducer"
    write_reproducer(found, "wrong", folder)
    names = {"model.onnx", "inputs.npz", "expected.npz", "got.npz", "run.py"}
    assert {p.name for p in folder.iterdir()} == names
    assert len((folder / "run.py").read_text().splitlines()) == 5
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("the engine of wrong is off by")
    assert float(done.stdout.split()[-1]) == pytest.approx(found.difference, rel=1e-3)


def test_an_engine_that_is_right_costs_one_build(tmp_path: Path) -> None:
    onnx.save(split_scales(), tmp_path / "model.onnx")
    graph = prepare(read_model(tmp_path / "model.onnx"))
    cure = merged_scales(graph)
    assert cure is not None
    (tmp_path / "cured.onnx").write_bytes(rewritten(graph, cure.rewrite))
    Wrong.built = 0
    assert first_wrong(prepare(read_model(tmp_path / "cured.onnx")), Wrong(OPTIONS), FEED) is None
    assert Wrong.built == 1
