"""What a command loads before it works: guarded by modules, since seconds depend on the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGE = {
    "numpy",
    "onnx",
    "onnx_ir",
    "sympy",
    "onnxruntime",
    "optuna",
    "highspy",
    "cattrs",
    "google",
}
SOME_MODEL = str(ROOT / "examples" / "digits" / "model.onnx")
COMPLETION = {
    "_PRECSEARCH_COMPLETE": "complete_bash",
    "COMP_WORDS": "precsearch ",
    "COMP_CWORD": "1",
}


def loaded(*args: str, **env: str) -> tuple[set[str], subprocess.CompletedProcess[str]]:
    """What a command line imported, and how it ended.

    Of SymPy each module, of precsearch its folders, of everything else the top-level package.
    """
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "precsearch", *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent,  # a run of the example that lies in the root would be read
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'strategies'}", **env},
    )
    names = re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    depth = {"sympy": None, "precsearch": 2}
    parts = [name.split(".") for name in names]
    return {".".join(p[: depth.get(p[0], 1)]) for p in parts}, done


@pytest.mark.parametrize(
    ("args", "env", "code", "said"),
    [
        (["--help"], {}, 0, "optimize"),
        (["--version"], {}, 0, "precsearch "),
        (["optimize", "--help"], {}, 0, "--tol"),
        (["diagnose", "--help"], {}, 0, "--precision"),
        ([], COMPLETION, 0, "optimize"),
        (["optimise"], {}, 2, ""),
        (["optimize", "m.onnx", "--tol", "much"], {}, 2, ""),
    ],
)
def test_help_completion_and_mistakes_load_nothing_large(
    args: list[str], env: dict[str, str], code: int, said: str
) -> None:
    modules, done = loaded(*args, **env)
    assert done.returncode == code
    assert said in done.stdout
    assert "typer" in modules, "imports were seen"
    assert not modules & LARGE


def test_a_command_that_reads_a_model_loads_no_sympy_and_no_engine_that_it_does_not_run() -> None:
    modules, done = loaded("inspect", SOME_MODEL, "--backend", "onnxruntime")
    assert done.returncode == 0
    assert "onnx_ir" in modules
    assert not {m for m in modules if m.startswith("sympy.")}
    assert not modules & {"optuna", "highspy", "tensorrt"}
    runs_an_engine = {"executors", "emulation", "rewrites", "search", "plan"}
    assert not modules & {f"precsearch.{folder}" for folder in runs_an_engine}


def test_two_plans_are_compared_without_what_a_page_of_several_runs_needs() -> None:
    plan = str(ROOT / "examples" / "replay" / "digits.plan.json")
    modules, done = loaded("report", plan, plan)
    assert done.returncode == 0
    assert "precsearch.report" in modules
    assert not modules & {f"precsearch.{folder}" for folder in ("executors", "emulation")}
