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
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.cli.exit_codes import Exit
from precsearch.cli.main import run
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import BuildError
from precsearch.diagnosis.miscompilation import first_wrong
from precsearch.diagnosis.reproducer import Miscompiled, write_reproducer
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.rewrites import merged_scales, rewritten
from tests.diagnosis.sick_models import SHAPE, split_scales
from tests.diagnosis.wrong_backend import Wrong

OPTIONS = BackendOptions(threads=1)
FEED = {"x": np.random.default_rng(1).normal(0, 2, (2, *SHAPE[1:])).astype(np.float32)}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Miscompiled:
    path = tmp_path_factory.mktemp("wrong") / "model.onnx"
    onnx.save(split_scales(), path)
    hunted = first_wrong(prepare(read_model(path)), Wrong(OPTIONS), FEED)
    assert hunted is not None
    return hunted


def test_the_miscompiled_pattern_is_found_within_the_limit_of_builds(found: Miscompiled) -> None:
    nodes = len(split_scales().graph.node)
    assert found.tensor == "attention/scores"
    assert found.op_type == "MatMul"
    assert found.difference > 0.1
    assert found.builds <= math.ceil(math.log2(nodes)) + 2


def test_the_example_of_the_documentation_is_found(tmp_path: Path) -> None:
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


def test_the_reproducer_runs_from_its_folder_alone(found: Miscompiled, tmp_path: Path) -> None:
    folder = tmp_path / "reproducer"
    onnx.save(model(), tmp_path / "whole.onnx")
    write_reproducer(found, "wrong", folder, read_model(tmp_path / "whole.onnx"))
    names = {"model.onnx", "inputs.npz", "expected.npz", "got.npz", "run.py"}
    assert {p.name for p in folder.iterdir()} == names
    assert len((folder / "run.py").read_text().splitlines()) == 8
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("the engine of wrong is off by")
    assert float(done.stdout.split()[-1]) == pytest.approx(found.difference, rel=1e-3)


def test_a_correct_engine_costs_one_build(tmp_path: Path) -> None:
    onnx.save(split_scales(), tmp_path / "model.onnx")
    graph = prepare(read_model(tmp_path / "model.onnx"))
    named = merged_scales(graph)
    assert named is not None
    (tmp_path / "rewritten.onnx").write_bytes(rewritten(graph, named.rewrite))
    Wrong.built = 0
    assert (
        first_wrong(prepare(read_model(tmp_path / "rewritten.onnx")), Wrong(OPTIONS), FEED) is None
    )
    assert Wrong.built == 1


def test_parts_that_do_not_read_every_input_are_run(tmp_path: Path) -> None:
    proto = split_scales()
    late = proto.graph.node[-1]
    proto.graph.input.append(onnx.helper.make_tensor_value_info("late", 1, [SHAPE[-1]]))
    late.input[1] = "late"
    onnx.save(proto, tmp_path / "model.onnx")
    feed = {**FEED, "late": np.ones(SHAPE[-1], np.float32)}
    hunted = first_wrong(prepare(read_model(tmp_path / "model.onnx")), Wrong(OPTIONS), feed)
    assert hunted is not None
    assert (hunted.tensor, hunted.not_built) == ("attention/scores", 0)


class Choosy(Wrong):
    """Refuses models of some sizes."""

    sizes: frozenset[int] = frozenset()

    def build(self, model: bytes) -> bytes:
        nodes = len(onnx.ModelProto.FromString(model).graph.node)
        if nodes in self.sizes:
            raise BuildError(f"no tactic for {nodes} nodes")
        return super().build(model)


def hunted(folder: Path, *sizes: int) -> Miscompiled:
    onnx.save(split_scales(), folder / "model.onnx")
    backend = Choosy(OPTIONS)
    backend.sizes = frozenset(sizes)
    result = first_wrong(prepare(read_model(folder / "model.onnx")), backend, FEED)
    assert result is not None
    return result


def test_a_part_that_does_not_build_is_not_judged(found: Miscompiled, tmp_path: Path) -> None:
    nodes = len(split_scales().graph.node)
    around = hunted(tmp_path, nodes // 2)
    assert (around.tensor, around.not_built, around.before) == (found.tensor, 1, 0)
    assert around.builds == found.builds + 1
    wrong = [n.name for n in split_scales().graph.node].index(found.tensor) + 1
    late = hunted(tmp_path, *range(wrong, wrong + 3))
    assert late.tensor != found.tensor, "the earliest that could be told"
    assert (late.not_built, late.before) == (3, 3)
    few = hunted(tmp_path, *range(4, nodes))
    assert few.not_built == 8, "each may cost minutes"
    assert few.before == nodes - 1


def checked(folder: Path, patch: pytest.MonkeyPatch, sizes: set[int]) -> int:
    onnx.save(split_scales(), folder / "model.onnx")
    np.savez(folder / "data.npz", x=FEED["x"])
    patch.chdir(folder)
    patch.setattr(Choosy, "sizes", frozenset(sizes))
    patch.setattr("precsearch.setup.target.backend_factory", lambda _: Choosy)
    patch.setattr("precsearch.diagnosis.miscompilation.backend_name", lambda name: name)
    line = "diagnose model.onnx --data data.npz --precision fp32 --backend choosy"
    return run(line.split())


def test_an_engine_that_does_not_build_is_not_called_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = len(split_scales().graph.node)
    code = checked(tmp_path, monkeypatch, {nodes})
    told = " ".join(capsys.readouterr().err.split())
    assert code == Exit.INPUT
    assert "the choosy backend's FP32 engine of this model fails" in told
    assert f"no tactic for {nodes} nodes" in told
    code = checked(tmp_path, monkeypatch, {nodes // 2})
    told = " ".join(capsys.readouterr().out.split())
    assert code == Exit.UNMET
    assert "1 engine of a part of the model did not build or run" in told
