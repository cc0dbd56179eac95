"""No process of ours lets ONNX Runtime write an identifier, or send anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from precsearch._start import TELEMETRY
from precsearch.exporters.onnxruntime import onnxruntime_script
from precsearch.exporters.polygraphy import polygraphy_script
from precsearch.exporters.script import Job
from precsearch.exporters.trtexec import trtexec_script
from tests.hostile.situations.world import model, write_world

ROOT = Path(__file__).parents[2]
PLAIN = (
    "import onnxruntime as o; o.InferenceSession('model.onnx', providers=['CPUExecutionProvider'])"
)
_CI = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "BUILD_ID", "JENKINS_URL", "GITLAB_CI", TELEMETRY)


def left(folder: Path, words: list[str], **given: str) -> list[str]:
    """Files in a fresh home and a fresh temporary folder after a command."""
    home, scratch = folder / "home", folder / "scratch"
    for new in (home, scratch):
        new.mkdir()
    env = {k: v for k, v in os.environ.items() if k not in _CI and not k.startswith("XDG_")}
    env |= {"HOME": str(home), "TMPDIR": str(scratch), **given}
    env["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "strategies")))
    done = subprocess.run(
        words, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = [p for new in (home, scratch) for p in new.rglob("*") if p.is_file()]
    return sorted(p.relative_to(folder).as_posix() for p in found)


@pytest.fixture
def talkative(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where this ONNX Runtime leaves nothing by itself: there is nothing to prevent."""
    folder = tmp_path_factory.mktemp("plain")
    onnx.save(model(), folder / "model.onnx")
    if not left(folder, [sys.executable, "-c", PLAIN]):
        pytest.skip("this ONNX Runtime has no telemetry")


@pytest.mark.usefixtures("talkative")
@pytest.mark.parametrize(
    "line",
    [
        "optimize model.onnx --data data.npz --tol 9 --threads 1 --strategy uniform --max-builds 1",
        "verify plan.json --model model.onnx --data data.npz --tol 99",
        "doctor",
    ],
)
def test_a_command_leaves_nothing_in_a_fresh_home(tmp_path: Path, line: str) -> None:
    write_world(tmp_path)
    words = [sys.executable, "-m", "precsearch", *line.split()]
    if line.startswith("verify"):  # INT8 may be slower in so small a model: the code is not asked
        words = ["sh", "-c", '"$@" || [ $? = 4 ]', "sh", *words]
    assert left(tmp_path, words) == []


@pytest.mark.usefixtures("talkative")
def test_a_program_that_imports_precsearch_first_leaves_nothing(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "model.onnx")
    assert left(tmp_path, [sys.executable, "-c", f"import precsearch; {PLAIN}"]) == []


def test_a_setting_of_the_user_is_left_alone() -> None:
    code = f"import precsearch, os; print(os.environ['{TELEMETRY}'])"
    for given, wanted in (({}, "1"), ({TELEMETRY: ""}, "1"), ({TELEMETRY: "0"}, "0")):
        env = {k: v for k, v in os.environ.items() if k != TELEMETRY} | given
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == wanted


def test_exported_scripts_switch_it_off_before_they_run_anything() -> None:
    job = Job("ab" * 32, "m.onnx", "m.engine", {})
    for text in (
        trtexec_script(job),
        polygraphy_script(job, "p.py"),
        onnxruntime_script(job, "cpu"),
    ):
        before, _, _ = text.partition("exec ")
        assert f'export {TELEMETRY}="${{{TELEMETRY}:-1}}"' in before


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
def test_a_search_asks_for_no_connection(tmp_path: Path) -> None:
    write_world(tmp_path)
    line = "optimize model.onnx --data data.npz --tol 9 --threads 1 --strategy tpe --max-builds 1"
    words = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", "calls"]
    probe = subprocess.run([*words, "true"], cwd=tmp_path, capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("strace may not trace here")
    left(tmp_path, [*words, sys.executable, "-m", "precsearch", *line.split()])
    assert "AF_INET" not in (tmp_path / "calls").read_text()
