"""Pipes, devices, links and endless files, wherever precsearch reads or writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.cli.main import run
from precsearch.core.backend import BackendOptions
from precsearch.measurement.device_lock import DeviceLock
from precsearch.report import tell
from precsearch.search.journal import NAME
from precsearch.search.journal.reading import MAX_BYTES
from precsearch.setup.files import write_text
from precsearch.system.regular_file import (
    is_regular,
    open_descriptor,
    open_regular,
    read_regular,
    resolved,
)
from tests.hostile.situations.world import model, write_world

ROOT = Path(__file__).parents[2]
OPTIMIZE = (
    "optimize model.onnx --data data.npz --tol 9 --threads 1 --strategy uniform --max-builds 1"
    " --no-corrections"
)
Make = Callable[[Path], None]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)


def linked(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"")
    path.symlink_to("elsewhere")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("make", [pipe, endless, large, linked])
@pytest.mark.parametrize(
    "line", ["watch run", f"watch run/{NAME}", "report run -o r.html", f"{OPTIMIZE} --run-dir run"]
)
def test_a_file_that_is_not_a_journal_is_refused_without_reading_on(
    here: Path, line: str, make: Make
) -> None:
    (here / "run").mkdir()
    make(here / "run" / NAME)
    words = [*line.split(), *(["--resume"] if "optimize" in line else [])]
    limited = 'ulimit -v 3000000; exec "$@"'  # so that reading without end ends
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'strategies'}"}
    done = subprocess.run(
        ["sh", "-c", limited, "sh", sys.executable, "-m", "precsearch", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (here / "model.plan.json").exists()


def test_a_large_journal_without_trials_is_not_discarded(here: Path) -> None:
    (here / "run").mkdir()
    large(here / "run" / NAME)
    assert run([*OPTIMIZE.split(), "--run-dir", "run"]) == 2
    assert (here / "run" / NAME).stat().st_size > MAX_BYTES


def test_files_of_a_run_directory_that_are_links_are_neither_read_nor_written_through(
    here: Path,
) -> None:
    assert run([*OPTIMIZE.split(), "--run-dir", "run", "-o", "a.json"]) == 0
    (kept,) = (here / "run").glob("ranges-*.json")
    (here / "mine").write_text("precious")
    kept.unlink()
    kept.symlink_to(here / "mine")
    assert run([*OPTIMIZE.split(), "--run-dir", "run", "-o", "b.json", "--force"]) == 0
    assert (here / "mine").read_text() == "precious"
    assert kept.is_file()
    assert not kept.is_symlink()


def test_caches_of_a_run_that_are_pipes_are_replaced_without_waiting(here: Path) -> None:
    assert run([*OPTIMIZE.split(), "--run-dir", "run", "-o", "a.json"]) == 0
    (kept,) = (here / "run").glob("ranges-*.json")
    kept.unlink()
    os.mkfifo(kept)
    assert tell([here / "run"]).ranges == {}
    assert run([*OPTIMIZE.split(), "--run-dir", "run", "-o", "b.json", "--force"]) == 0
    assert kept.is_file()


@pytest.mark.parametrize("make", [pipe, endless])
@pytest.mark.parametrize(
    "line",
    [
        "build odd --model model.onnx -o b.onnx",
        "inspect odd",
        "optimize model.onnx --data odd.npz",
        "optimize model.onnx --data odd.json",
        "optimize model.onnx --data odd.py",
        "optimize model.onnx --data data.npz --metric odd.py:f",
        "verify plan.json --model model.onnx --data data.npz --artifact odd",
    ],
)
def test_names_of_the_user_must_be_files(
    here: Path, line: str, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    (name,) = (w.partition(":")[0] for w in line.split() if w.startswith("odd"))
    make(here / name)
    assert run(line.split()) == 2
    assert name in capsys.readouterr().err


def test_a_link_is_refused_as_a_device_lock(here: Path) -> None:
    linked(here / "device.lock")
    with pytest.raises(OSError, match="it is a link"):
        DeviceLock(str(here / "device.lock"))


def test_a_journal_names_no_plan_outside_of_the_folders_at_hand(here: Path) -> None:
    (here / "away").mkdir()
    assert run([*OPTIMIZE.split(), "--run-dir", "run", "-o", "away/p.json"]) == 0
    assert tell([here / "run"]).plan is not None, "a relative path, as it was typed"
    journal = here / "run" / NAME
    text = journal.read_text()
    for other in (str(here / "away" / "p.json"), "../" + here.name + "/away/p.json"):
        journal.write_text(text.replace('"away/p.json"', f'"{other}"'))
        assert tell([here / "run"]).plan is None


def test_a_profile_has_a_folder_of_its_own_that_goes_away(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    (here / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(here / "scratch"))
    backend = OnnxRuntimeBackend(BackendOptions(threads=1))
    session = backend.open(model().SerializeToString(), profiled=True)
    (folder,) = (here / "scratch").iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert session.profile({"x": np.ones((1, 1, 8, 8), np.float32)}, 1)
    session.close()
    assert list((here / "scratch").iterdir()) == []


def test_only_regular_files_are_opened(here: Path) -> None:
    pipe(here / "p")
    linked(here / "l")
    (here / "f").write_bytes(b"12345")
    assert read_regular(here / "f", 5) == b"12345"
    assert [is_regular(here / n) for n in ("p", "l", "f", "none", ".", "\0")] == [
        *(False, True, True, False, False, False)
    ]
    for name, said in (("p", "a device or a pipe"), (".", "directory"), ("/dev/null", "a device")):
        with pytest.raises(OSError, match=said):
            open_regular(here / name)
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular(here / "f", 4)
    with pytest.raises(OSError, match="it is a link"):
        open_descriptor(here / "l", os.O_RDONLY, follow=False)
    assert read_regular(here / "l", 9) == b""


def test_a_text_replaces_a_link_or_what_it_points_to(here: Path) -> None:
    linked(here / "l")
    write_text(here / "l", "one")
    assert (here / "elsewhere").read_text() == "one"
    write_text(here / "l", "two", follow=False)
    assert (here / "elsewhere").read_text() == "one"
    assert not (here / "l").is_symlink()


def test_links_in_a_circle_lead_nowhere_on_every_python(tmp_path: Path) -> None:
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for name in ("itself", "one", "two"):
        with pytest.raises(OSError, match="symbolic links"):
            resolved(tmp_path / name)
    (tmp_path / "link").symlink_to("later")
    assert resolved(tmp_path / "link") == tmp_path.resolve() / "later"
