"""A committed plan in a build, by make and by the commands of the CI job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.api import build
from precsearch.core.errors import ReplayError
from precsearch.lowering.qdq.weights import quantize_weight
from precsearch.plan.plan import read_plan
from tests.hostile.situations.world import write_world

ROOT = Path(__file__).parents[2]
COMMAND = f"{sys.executable} -m precsearch.cli.main"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the example and what it refers to."""
    for name in ("digits", "replay"):
        ignored = shutil.ignore_patterns("build", "train.py")
        shutil.copytree(ROOT / "examples" / name, tmp_path / "examples" / name, ignore=ignored)
    return tmp_path


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    program = bin_folder / "precsearch"
    program.write_text(f'#!/bin/sh\nexec {COMMAND} "$@"\n')
    program.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}:{ROOT / 'strategies'}"}
    return subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def change_weight(path: Path, name: str) -> None:
    """Flip the sign of the largest number of one weight."""
    proto = onnx.load(path)
    (tensor,) = (t for t in proto.graph.initializer if t.name == name)
    values = np.frombuffer(tensor.raw_data, np.float32).copy()
    values[np.abs(values).argmax()] *= -1
    tensor.raw_data = values.tobytes()
    path.write_bytes(proto.SerializeToString())


def last_conv(path: Path) -> tuple[str, str]:
    """Name of the last Conv's weight, and of its output."""
    node = [n for n in onnx.load(path).graph.node if n.op_type == "Conv"][-1]
    return node.input[1], node.output[0]


def test_make_builds_what_the_plan_promises(examples: Path) -> None:
    done = shell("make -C examples/replay", examples)
    assert done.returncode == 0, done.stderr
    assert "identical to what the plan promises" in done.stdout
    promised = read_plan(examples / "examples/replay/digits.plan.json").recipe.materialised_sha256
    assert promised in done.stdout
    assert "up to date" in shell("make -C examples/replay", examples).stdout


def test_make_upgrades_the_plan_of_0_1_0_and_builds_the_same_model(examples: Path) -> None:
    done = shell("make -C examples/replay build/digits.onnx upgrade", examples)
    assert done.returncode == 0, done.stderr
    build = examples / "examples/replay/build"
    assert (build / "upgraded.onnx").read_bytes() == (build / "digits.onnx").read_bytes()
    assert (build / "upgraded.evidence.json").is_file()


def test_make_stops_at_a_changed_weight_and_names_its_node(examples: Path) -> None:
    folder = examples / "examples"
    weight, output = last_conv(folder / "digits" / "model.onnx")
    change_weight(folder / "digits" / "model.onnx", weight)
    done = shell("make -C examples/replay", examples)
    assert "Error 4" in done.stderr
    assert "'model.onnx' is not the model that the plan was made for" in done.stderr
    (node,) = re.findall(r"the first node that differs is '([^']*)'", done.stderr)
    (group,) = re.findall(r"\(group '([^']*)'\)", done.stderr)
    keys = [g.key for g in read_plan(folder / "replay" / "digits.plan.json").recipe.groups]
    names = [o for n in onnx.load(folder / "digits" / "model.onnx").graph.node for o in n.output]
    assert names.index(node) <= names.index(output) + 1 <= names.index(group) + 1
    assert group in keys
    assert not (folder / "replay" / "build" / "digits.onnx").exists()


def test_the_ci_job_s_commands_run(examples: Path) -> None:
    text = (ROOT / "examples/replay/ci.yml").read_text()
    commands = re.findall(r"^ *- run: (.*)$", text, re.MULTILINE)
    assert commands[0] == "pip install precsearch"
    for command in commands[1:]:
        done = shell(command, examples)
        assert done.returncode == 0, done.stderr
    weight, _ = last_conv(examples / "examples/digits/model.onnx")
    change_weight(examples / "examples/digits/model.onnx", weight)
    shutil.rmtree(examples / "examples/replay/build")
    assert shell(commands[2], examples).returncode != 0


def test_the_page_shows_the_job_and_the_rule_as_they_are() -> None:
    page = (ROOT / "docs/replay.md").read_text()
    job = (ROOT / "examples/replay/ci.yml").read_text().split("\n", 1)[1]
    rule = (ROOT / "examples/replay/Makefile").read_text().split("\n\n")[1]
    assert job in page
    assert rule.strip() in page


def test_a_library_that_rounds_otherwise_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(tmp_path)

    def otherwise(weight: np.ndarray, *args: object, **options: object) -> object:
        values, scales = quantize_weight(weight, *args, **options)  # type: ignore[arg-type]
        if weight.ndim == 2:  # the MatMul's alone
            values = values.copy()
            values.reshape(-1)[values.size // 2] ^= 1
        return values, scales

    monkeypatch.setattr("precsearch.lowering.qdq.tensors.quantize_weight", otherwise)
    output = tmp_path / "new.onnx"
    with pytest.raises(ReplayError) as caught:
        build(tmp_path / "plan.json", tmp_path / "model.onnx", output)
    assert "the first node that differs is 'y' (group 'y')" in str(caught.value)
    assert "compare the versions of onnx, onnx_ir and numpy" in str(caught.value)
    assert not output.exists()
