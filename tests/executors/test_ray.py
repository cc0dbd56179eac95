"""A search on two actors of a real local Ray, one of which is killed on the way."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from precsearch.api import OptimizeConfig
from precsearch.core.backend import BackendFacts
from precsearch.core.errors import OptionError
from precsearch.executors.ray.executor import open_ray
from precsearch.executors.request import Request
from precsearch.graph.reading.read import read_model
from tests.e2e.command import MODEL

ROOT = Path(__file__).parents[2]
INSTALLED = importlib.util.find_spec("ray") is not None


def apart() -> list[str]:
    """Words that start a process in a network of its own; none where that is not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return []
    words = [unshare, "--net"] if os.geteuid() == 0 else [unshare, "--net", "--map-root-user"]
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else []


def drill(words: str) -> str:
    """What the drill prints."""
    started = apart()
    if not started:
        pytest.skip("NOT TESTED: Ray listens on every interface, and no network of its own here")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "strategies")))}
    done = subprocess.run(
        [*started, sys.executable, "-m", "tests.executors.ray_drill", words],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="NOT TESTED: Ray is not installed (precsearch[ray])")
def test_a_killed_actor_costs_no_trial() -> None:
    cores = sorted(os.sched_getaffinity(0))
    devices = f"{cores[0]},{cores[1]}" if len(cores) > 1 else ""
    assert "killed an actor" in drill(devices)


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="NOT TESTED: Ray is not installed (precsearch[ray])")
def test_a_second_service_on_a_gpu_waits_for_no_other_gpu() -> None:
    """As where finalists are timed in new processes while the search's actors hold all GPUs."""
    assert drill("gpus").startswith("shared")


@pytest.mark.skipif(INSTALLED, reason="Ray is installed")
def test_without_ray_the_run_says_what_to_install() -> None:
    with pytest.raises(OptionError, match=r"pip install 'precsearch\[ray\]'"):
        open_ray(Request(read_model(MODEL), BackendFacts(), address="local"))


def test_a_cluster_that_nothing_answers_for_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = ModuleType("ray")
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would try for minutes"), False)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(OptionError, match=f"Ray does not answer at '127.0.0.1:{port}'.*refused"):
        open_ray(Request(read_model(MODEL), BackendFacts(), address=f"ray://127.0.0.1:{port}"))


def test_devices_of_this_machine_and_a_cluster_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="drop one of them"):
        OptimizeConfig(Path("m.onnx"), devices="0,1", ray="10.0.0.1:6379")
    assert OptimizeConfig(Path("m.onnx"), devices="0,1", ray="local").ray == "local"
