"""A run's outputs: reserved at the start, and nothing replaced by accident at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from precsearch.core.errors import OutputError
from precsearch.setup.files import write_bytes, write_output
from precsearch.setup.outputs import Outputs, Record, reserved

ROOT = Path(__file__).parents[2]
HOLDER = (
    "import sys, time; from pathlib import Path; from precsearch.setup.outputs import reserved\n"
    "with reserved([Path(sys.argv[1])]):\n"
    "    print('held', flush=True); time.sleep(600)\n"
)


def test_only_one_run_may_write_a_file(tmp_path: Path) -> None:
    plan = tmp_path / "p.json"
    with reserved([plan, tmp_path / "a.onnx"]):
        with pytest.raises(OutputError, match="another run is going to write"), reserved([plan]):
            pass
        with reserved([tmp_path / "q.json"]):
            pass
    with reserved([plan]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_links_to_one_file_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "p.json")
    with (
        reserved([tmp_path / "p.json"]),
        pytest.raises(OutputError, match="another run"),
        reserved([tmp_path / "link.json"]),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_run_that_is_killed_blocks_nobody(tmp_path: Path) -> None:
    plan = tmp_path / "p.json"
    command = [sys.executable, "-c", HOLDER, str(plan)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(OutputError, match="another run"), reserved([plan]):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / ".p.json.lock").exists()
    with reserved([plan]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_many_simultaneous_runs_one_gets_the_file(tmp_path: Path) -> None:
    inside, most = [0], [0]
    guard = threading.Lock()

    def one() -> None:
        for _ in range(60):
            with suppress(OutputError), reserved([tmp_path / "p.json"]):
                with guard:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with guard:
                    inside[0] -= 1

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_reservation_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".p.json.lock").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        reserved([tmp_path / "p.json"]),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_files_that_appear_meanwhile_are_kept(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path, force=False, resumed=False)
    plan = tmp_path / "p.json"
    plan.write_text("mine")
    with pytest.raises(OutputError, match="has appeared during the search and is kept"):
        outputs.write(plan, b"theirs")
    assert plan.read_text() == "mine"
    Outputs(tmp_path, force=True, resumed=False).write(plan, b"theirs")
    assert plan.read_text() == "theirs"
    assert {p.name for p in tmp_path.iterdir()} == {"p.json", "outputs.json"}


def test_a_resumed_run_replaces_what_it_wrote_and_nothing_else(tmp_path: Path) -> None:
    plan = tmp_path / "p.json"
    Outputs(tmp_path, force=False, resumed=False).write(plan, b"first")
    resumed = Outputs(tmp_path, force=False, resumed=True)
    resumed.check([plan])
    resumed.write(plan, b"second")
    assert plan.read_bytes() == b"second"
    plan.write_bytes(b"edited")
    with pytest.raises(OutputError, match="is not what this run wrote"):
        Outputs(tmp_path, force=False, resumed=True).check([plan])
    with pytest.raises(OutputError, match="has appeared"):
        Outputs(tmp_path, force=False, resumed=True).write(plan, b"third")
    assert plan.read_bytes() == b"edited"


def test_identical_files_are_not_written_again(tmp_path: Path) -> None:
    plan = tmp_path / "p.json"
    outputs = Outputs(tmp_path, force=False, resumed=False)
    outputs.write(plan, b"plan")
    before = plan.stat()
    outputs.write(plan, b"plan")
    assert (plan.stat().st_ino, plan.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "nonsense", '{"plan": 1}', "[" * 100_000, '{"plan": "x"', "\xff"]
)
def test_a_record_that_makes_no_sense_promises_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "outputs.json").write_bytes(text.encode("latin-1"))
    assert Record.read(tmp_path) == Record()


def test_a_new_run_forgets_the_record_of_the_one_before(tmp_path: Path) -> None:
    Outputs(tmp_path, force=False, resumed=False).write(tmp_path / "p.json", b"first")
    assert Record.read(tmp_path).written
    Outputs(tmp_path, force=True, resumed=False)
    assert Record.read(tmp_path) == Record()


def test_nothing_is_replaced_without_hard_links_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_bytes(tmp_path / "a", b"one", replace=False)
    with pytest.raises(OutputError, match="exists already; add --force"):
        write_output(tmp_path / "a", b"two", force=False)
    assert (tmp_path / "a").read_bytes() == b"one"
    write_output(tmp_path / "a", "\ud800", force=True)
    assert (tmp_path / "a").read_bytes() == b"\\ud800"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_unfinished_files_of_a_killed_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".p.json.unfinished-ab12cd34").write_bytes(b"half a pl")
    for other in (".p.json.mine", ".q.json.unfinished-ab12cd34"):
        (tmp_path / other).write_text("a file of somebody else")
    with reserved([tmp_path / "p.json"]):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".p.json.mine",
        ".q.json.unfinished-ab12cd34",
    ]
