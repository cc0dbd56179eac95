"""``--workers N``: the same answer, engines timed one at a time, and nothing lost when it ends."""

from __future__ import annotations

import signal
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from precsearch.core.events import RunStarted, TrialFinished
from precsearch.core.trial import Failed
from precsearch.plan.plan import Plan, read_plan
from precsearch.search.journal import read
from tests.e2e.command import LIMIT_S, MODEL, command, few_samples, read_until
from tests.e2e.plugins.clocked_backend import diary, install
from tests.e2e.test_interrupted import still_there, workers_of

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")

SEARCH = ("--tol", "0.03", "--threads", "1", "--backend", "clocked", "--no-corrections")
AUTO = ("--strategy", "auto", "--max-builds", "4")
UNIFORM = ("--strategy", "uniform")
BISECTION = ("--strategy", "bisection", "--max-builds", "6")


class Place:
    """A folder in which searches run on the clocked backend."""

    def __init__(self, folder: Path, *, crash: bool = False) -> None:
        self.folder = folder
        self.env = install(folder, crash=crash)
        # Half of these are searched with: as few as a proxy sees at least, on a busy machine, too.
        self.data = few_samples(folder / "few.npz", 8)

    def line(self, name: str, workers: int, *more: str) -> list[str]:
        plan, run_dir = self.folder / f"{name}.json", self.folder / name
        given: list[str | Path] = ["-o", plan, "--run-dir", run_dir, "--workers", str(workers)]
        return command("optimize", MODEL, "--data", self.data, *SEARCH, *given, *more)

    def run(self, name: str, workers: int, *more: str) -> Plan:
        done = subprocess.run(
            self.line(name, workers, *more),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return read_plan(self.folder / f"{name}.json")

    def start(self, name: str, workers: int, *more: str) -> subprocess.Popen[str]:
        """Start a search that stops after the uniform engines, to be met there."""
        return subprocess.Popen(
            self.line(name, workers, *more),
            env=install(self.folder, hold="search"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def trials(self, name: str) -> list[Any]:
        found = read(self.folder / name)
        return [e.trial for e in found if isinstance(e, TrialFinished)]


def shown(plan: Plan) -> object:
    """What a search found, without wall times."""
    trials = [(t.assignment, t.fidelity, t.loss, t.ratio) for t in plan.evidence.trials]
    return plan.recipe, trials, plan.evidence.latency.ratio, plan.evidence.stopped


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Plan]:
    """A finished run with one worker."""
    place = Place(tmp_path_factory.mktemp("alone"))
    return place, place.run("w1", 1, *AUTO)


def check_timing_is_alone(place: Place, workers: int) -> None:
    rows = diary(place.folder / "diary")
    assert len({r.pid for r in rows if r.what == "run"}) == workers
    timed = [r for r in rows if r.what == "time"]
    assert len(timed) > 100
    for one in timed:
        met = [r for r in rows if r.pid != one.pid and r.meets(one)]
        assert met == [], f"{one} was disturbed"


def test_the_answer_does_not_depend_on_the_number_and_timing_is_alone(
    alone: tuple[Place, Plan], tmp_path: Path
) -> None:
    place, (one, plan) = Place(tmp_path), alone
    check_timing_is_alone(one, 1)
    assert shown(plan) == shown(place.run("w4", 4, *AUTO))
    check_timing_is_alone(place, 4)
    (started,) = (e for e in read(tmp_path / "w4") if isinstance(e, RunStarted))
    assert "workers" not in started.identity
    assert "device.lock" not in (p.name for p in (one.folder / "w1").iterdir())


def test_a_crash_while_timing_costs_its_trial_alone(tmp_path: Path) -> None:
    place = Place(tmp_path, crash=True)
    plan = place.run("p", 3, *UNIFORM)
    outcomes = [t.outcome for t in place.trials("p") if t.proposal.fidelity == "engine"]
    failed = [o for o in outcomes if isinstance(o, Failed)]
    assert {(f.stage, f.kind) for f in failed} == {("time", "crash")}
    assert len(failed) >= 2
    assert plan.recipe.assignment.entries == (), "FP32 alone could be timed"


def test_ctrl_c_ends_all_workers_and_the_run_resumes_with_another_number_of_them(
    alone: tuple[Place, Plan], tmp_path: Path
) -> None:
    place = Place(tmp_path)
    process = place.start("p", 3, *AUTO)
    read_until(process, "engine 0:")
    children = workers_of(process.pid)
    assert len(children) == 3
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert still_there(children) == []
    before = place.trials("p")
    plan = place.run("p", 2, *AUTO, "--resume")
    after = place.trials("p")
    assert after[: len(before)] == before
    asked = [t.proposal for t in after]
    assert all(a != b for a, b in combinations(asked, 2)), "a finished trial was evaluated again"
    assert shown(plan) == shown(alone[1])


def test_a_killed_parent_leaves_no_worker_and_no_lock(tmp_path: Path) -> None:
    place = Place(tmp_path)
    process = place.start("p", 2, *BISECTION)
    read_until(process, "engine 1:")
    children = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=LIMIT_S)
    assert still_there(children) == []
    before = place.trials("p")
    plan = place.run("p", 2, *BISECTION, "--resume")
    assert place.trials("p")[: len(before)] == before
    assert plan.evidence.stopped in ("done", "builds")
