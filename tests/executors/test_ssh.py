"""A search on another host: this one over SSH, and a plain subprocess with a root of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

from precsearch.backends.fake import FakeBackend, Fault, fake_lower
from precsearch.core.backend import BackendFacts
from precsearch.core.errors import OptionError, ResourceError, WorkerCrashed, WorkerKilled
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.trial import Failed, Trial
from precsearch.executors.candidates import rival
from precsearch.executors.connect import connect
from precsearch.executors.fleet import assembled
from precsearch.executors.pool import Pool
from precsearch.executors.protocol import Executor
from precsearch.executors.request import Request
from precsearch.executors.ssh import Host, SshExecutor, parse_target
from precsearch.graph.reading.read import read_model
from precsearch.measurement.config import MeasurementConfig
from precsearch.search.loop import search
from tests.executors.doomed import Doomed
from tests.executors.here import HereExecutor
from tests.executors.test_pool import LANDSCAPE, SPACE, Batch, config_of, shown
from tests.graph.small_graphs import residual_net
from tests.search.loop_toys import INT8, finish

ROOT = Path(__file__).parents[2]
SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")


def python(folder: Path) -> str:
    """An interpreter that finds precsearch as an installed one does."""
    path = folder / "python"
    sources = os.pathsep.join(map(str, (ROOT, ROOT / "strategies")))
    path.write_text(f'#!/bin/sh\nPYTHONPATH={sources} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def plain(tmp_path: Path) -> Host:
    """No network: a shell of this machine, with its own root."""
    return Host("beside", ("sh", "-c"), python(tmp_path), str(tmp_path / "root"))


@pytest.fixture
def over_ssh(tmp_path: Path) -> Iterator[Host]:
    """This machine through an SSH server of the test's own, on the loopback interface."""
    if SSHD is None or shutil.which("ssh-keygen") is None or os.geteuid() != 0:
        pytest.skip("NOT TESTED: there is no SSH server that this test may start")
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)]
        subprocess.run(words, check=True)
    (keys / "authorized").write_text((keys / "user.pub").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "HostKey": keys / "host",
        "AuthorizedKeysFile": keys / "authorized",
        "ListenAddress": f"127.0.0.1:{port}",
        "PidFile": "none",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "UsePAM": "no",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", *words])
    try:
        for _ in range(200):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        trust = ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={keys / 'known'}"]
        target = parse_target(f"ssh://{getpass.getuser()}@127.0.0.1:{port}")
        prefix = ("ssh", "-i", str(keys / "user"), *trust, *target.prefix[1:])
        yield replace(target, prefix=prefix, python=python(tmp_path), root=str(tmp_path / "root"))
    finally:
        server.terminate()
        server.wait(30)


def requested(folder: Path) -> Request:
    onnx.save(residual_net(3), folder / "model.onnx")
    return Request(read_model(folder / "model.onnx"), BackendFacts())


def searched(executor: Executor, config: MeasurementConfig) -> list[Trial]:
    problem = Problem(SPACE, Goal(Bound(1e-2), 0.01), Budget())
    lower: Any = fake_lower(SPACE)
    trials: list[Trial] = []
    with connect(executor, executor.devices()[0], config) as first:
        where = first.fingerprint()
        with assembled(executor, first, config, where, 60.0) as fleet:
            pool = Pool(executor, fleet, config, 1, 60.0, lambda low: rival(problem, trials, low))
            with pool.evaluating(lower, {}) as evaluate:
                _, found = finish(search(problem, Batch(), evaluate))
    return list(found)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "over_ssh"])
def test_a_search_on_another_host_finds_the_same_plan(
    tmp_path: Path, how: str, request: pytest.FixtureRequest
) -> None:
    host: Host = request.getfixturevalue(how)
    faulty = replace(LANDSCAPE, faults=(Fault("segv", "run", {"g0": INT8}),))
    config = replace(config_of(), backend=partial(FakeBackend, landscape=faulty.to_json()))
    executor = SshExecutor(host, requested(tmp_path))
    found = searched(executor, config)
    assert {t.device for t in found} == {f"{host.name}/cpu"}
    crashed, *others = found
    assert isinstance(crashed.outcome, Failed)
    assert (crashed.outcome.stage, crashed.outcome.kind) == ("run", "crash")
    assert shown(others) == shown(searched(HereExecutor(), config_of())[1:])
    copied = list((tmp_path / "root" / "models").glob("*/model.onnx"))
    assert [p.read_bytes() for p in copied] == [(tmp_path / "model.onnx").read_bytes()]
    executor.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["plain", "over_ssh"])
def test_the_end_of_a_remote_worker_is_reported(
    tmp_path: Path, how: str, request: pytest.FixtureRequest
) -> None:
    """Killed from outside, crashed and cut off are three things."""
    executor = SshExecutor(request.getfixturevalue(how), requested(tmp_path))
    with executor.open(executor.devices()[0], Doomed, limit_s=60) as worker:
        with pytest.raises(WorkerKilled, match=r"something outside killed the worker \(SIGKILL\)"):
            worker.once(Doomed.die, signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="died of SIGSEGV"):
            worker.once(Doomed.die, signal.SIGSEGV)
        with pytest.raises(WorkerCrashed, match="exited with code 3"):
            worker.once(Doomed.leave, 3)
        with pytest.raises(WorkerKilled, match="the connection to the worker broke"):
            worker.once(Doomed.leave, 255)
    executor.close()


@pytest.mark.parametrize(
    ("text", "words", "python_", "root"),
    [
        ("ssh://me@jetson", ("me@jetson",), "python3", "~/.cache/precsearch"),
        ("ssh://me@MyJetson", ("me@MyJetson",), "python3", "~/.cache/precsearch"),
        ("ssh://jetson:2222", ("-p", "2222", "jetson"), "python3", "~/.cache/precsearch"),
        ("ssh://me@h?python=/v/bin/python&root=/d", ("me@h",), "/v/bin/python", "/d"),
    ],
)
def test_a_target_names_a_host(text: str, words: tuple[str, ...], python_: str, root: str) -> None:
    host = parse_target(text)
    assert host.prefix[0] == "ssh"
    assert host.prefix[-len(words) :] == words
    assert (host.python, host.root) == (python_, root)


@pytest.mark.parametrize(
    "text",
    [
        "jetson",
        "ssh://",
        "http://jetson",
        "ssh://h/path",
        "ssh://h?port=1",
        "ssh://h:x",
        "ssh://-oX",
    ],
)
def test_a_target_without_a_host_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--target takes a host such as ssh://user@host"):
        parse_target(text)


def test_a_password_in_a_target_is_refused_and_not_shown() -> None:
    with pytest.raises(OptionError, match="and no password") as refused:
        parse_target("ssh://me:secret@jetson:22")
    assert "secret" not in str(refused.value)


def test_what_a_host_without_an_answer_is_asked_names_the_port(tmp_path: Path) -> None:
    host = replace(parse_target("ssh://jetson:2222"), prefix=("false", "-p", "2222", "jetson"))
    with pytest.raises(ResourceError, match="works: false -p 2222 jetson python3 -m precsearch --"):
        SshExecutor(host, requested(tmp_path))


def test_a_host_that_does_not_answer_says_so(tmp_path: Path) -> None:
    host = Host("nowhere", ("sh", "-c"), "/no/such/python", str(tmp_path / "root"))
    with pytest.raises(ResourceError, match=r"nowhere does not start a worker .*check that"):
        SshExecutor(host, requested(tmp_path))
