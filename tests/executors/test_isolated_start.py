"""Nothing of the working directory is imported, neither by the command nor by a worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from precsearch._start import isolate, named_paths
from precsearch.executors.process import Worker
from precsearch.executors.process.start import command, environment
from tests.hostile.situations.world import write_world

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join(map(str, (ROOT, ROOT / "strategies")))
NAMES = "json typing re numpy onnx onnxruntime typer logging hashlib sitecustomize precsearch"
OPTIMIZE = (
    "optimize model.onnx --data data.npz --tol 9 --threads 1 --strategy uniform --max-builds 1"
)
PYTHONS = [p for v in (10, 11, 12, 13) if (p := shutil.which(f"python3.{v}"))] or [sys.executable]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a model, data and modules that leave a trace when they are run."""
    write_world(tmp_path)
    for name in NAMES.split():
        trap = f"import sys\nopen({str(tmp_path / 'RAN')!r}, 'a').write('{name} ')\n"
        (tmp_path / f"{name}.py").write_text(trap)
    return tmp_path


def environ(**given: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": SOURCES, "COLUMNS": "100", **given}


def ran(folder: Path, words: list[str], **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=environ(**given),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def script(folder: Path) -> str:
    """The console script, as pip writes it."""
    (folder / "bin").mkdir()
    path = folder / "bin" / "precsearch"
    lines = [f"#!{sys.executable}", "import sys", "from precsearch.cli.main import main"]
    path.write_text("\n".join([*lines, "sys.exit(main())", ""]))
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "started", ["module", "main", "script", "script, PYTHONPATH begins with :"]
)
def test_a_search_imports_nothing_from_the_working_directory(here: Path, started: str) -> None:
    words = {
        "module": [sys.executable, "-m", "precsearch"],
        "main": [sys.executable, "-m", "precsearch.cli.main"],
    }.get(started) or [script(here)]
    (here / "precsearch.py").unlink()  # -m looks for what it is told in the working directory
    given = {}
    if "PYTHONPATH" in started:
        (here / "sitecustomize.py").unlink()  # which Python itself runs before anything else
        given["PYTHONPATH"] = f":{SOURCES}"
    done = ran(here, [*words, *OPTIMIZE.split()], **given)
    assert not (here / "RAN").exists(), (here / "RAN").read_text()
    assert done.returncode == 0, done.stderr
    assert (here / "model.plan.json").exists()


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_leaves_the_working_directory_out(here: Path, python: str) -> None:
    (here / "precsearch.py").unlink()
    ran(here, [python, "-m", "precsearch", "--version"])  # it may lack what we depend on
    assert not (here / "RAN").exists(), (here / "RAN").read_text()


class Looking:
    """Tells of the process that it is in."""

    def __init__(self, announce: object) -> None:
        pass

    def path(self) -> list[str]:
        return sys.path

    def origin(self, name: str) -> str:
        return str(__import__(name).__file__)


def test_a_worker_has_its_parents_path_without_the_working_directory(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(here)
    (here / "sub").mkdir()
    monkeypatch.setattr(sys, "path", ["", *sys.path, "sub"])
    with Worker(Looking, limit_s=60, preload=()) as worker:
        path = worker.call(Looking.path)
        assert path == [*sys.path[1:-1], str(here / "sub")]
        assert worker.call(Looking.origin, "json") == sys.modules["json"].__file__
    assert not (here / "RAN").exists()


def test_the_boot_of_a_worker_imports_nothing_before_the_path_is_its_parents() -> None:
    words = command({})
    code = words[words.index("-c") + 1]
    first = code.split(";")[0:2]
    assert first == ["import sys", " sys.path[:] = [p for p in sys.path if p]"]
    assert ("-P" in words) == (sys.version_info >= (3, 11))


def test_empty_entries_of_pythonpath_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    s = os.pathsep
    assert named_paths({"PYTHONPATH": f"{s}/a{s}{s}.{s}"}) == f"/a{s}."
    assert named_paths({}) == ""
    monkeypatch.setenv("PYTHONPATH", f"{s}/a")
    assert environment()["PYTHONPATH"] == "/a"
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in environment()


@pytest.mark.parametrize(
    ("pythonpath", "module", "before", "after"),
    [
        ("", True, ["/here", "/lib"], ["/lib"]),
        ("", True, ["/lib", "/here"], ["/lib", "/here"]),
        ("", False, ["/bin", "/lib", "/here"], ["/bin", "/lib", "/here"]),
        (":/x", True, ["/here", "/here", "/x", "/lib"], ["/x", "/lib"]),
        (":/x", False, ["/bin", "/here", "/x", "/lib"], ["/bin", "/x", "/lib"]),
        (":/x", False, ["/bin", "/x", "/lib", "/here"], ["/bin", "/x", "/lib", "/here"]),
        (":/here", False, ["/bin", "/here", "/lib"], ["/bin", "/here", "/lib"]),
        ("/here", True, ["/here", "/here", "/lib"], ["/here", "/lib"]),
    ],
)
def test_entries_that_the_user_named_stay_on_the_path(
    pythonpath: str, module: bool, before: list[str], after: list[str]
) -> None:
    given = {"PYTHONPATH": pythonpath.replace(":", os.pathsep)}
    isolate(before, "/here", "/lib", given, module=module)
    assert before == after


def test_a_source_tree_that_is_not_installed_hides_no_module() -> None:
    path = ["/tree", "/lib"]
    isolate(path, "/tree", "/tree", {}, module=True)
    assert path == ["/lib", "/tree"]
