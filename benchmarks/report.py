"""How long a report on a model of many nodes takes, and how large it gets.

    python benchmarks/report.py [--groups 1000] [--builds 40] -o docs/benchmarks/report.md

The journal is that of a real search (strategy ``auto``) over the fake backend, a node a group;
the plan beside it has a scale and a reason for each group. Measured is the command, in a process of
its own, from its start to its end, five times.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import numpy as np

from precsearch import registry
from precsearch.backends.fake import (
    Cost,
    FakeBackend,
    FakeLowered,
    Landscape,
    fake_lower,
    fake_reference,
)
from precsearch.core.backend import BackendOptions, Fingerprint
from precsearch.core.events import (
    Event,
    GroupOutline,
    PlanWritten,
    RunStarted,
    SearchStarted,
    TrialFinished,
)
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measurement, Trial
from precsearch.optimization.explanation.explain import explain_groups, ledger
from precsearch.optimization.write_plan import _trials as trial_evidence
from precsearch.plan.plan import Criteria, Evidence, GroupRecipe, Plan, Recipe, ScaleRecipe
from precsearch.search.evaluator import evaluators, sequential
from precsearch.search.journal import Journal
from precsearch.search.loop import search

FP32, INT8 = Precision.FP32, Precision.INT8
IDENTITY = {"model": "ab" * 32, "backend": "fake", "strategy": "auto", "seed": "0"}
FEEDS = tuple({"input": np.full(3, i, np.float32)} for i in range(32))
REPEATS = 5


def large_problem(groups: int, builds: int) -> tuple[Problem, Landscape]:
    names = [f"/encoder/layer.{i // 10}/block{i % 10}/MatMul_output_0" for i in range(groups)]
    rng = random.Random(0)
    space = SearchSpace(
        tuple(
            LayerGroup(n, "matmul", (n,), (FP32, INT8), block=f"layer.{i // 10}")
            for i, n in enumerate(names)
        ),
        tuple((i, i + 1) for i in range(groups - 1)),
    )
    small = 1 / groups**0.5
    costs = {
        n: {
            FP32: Cost(rng.uniform(1e-5, 4e-5)),
            INT8: Cost(rng.uniform(3e-6, 2e-5), rng.uniform(5e-3, 5e-2) * small),
        }
        for n in names
    }
    edges = tuple((a, b) for a, b in itertools.pairwise(names))
    landscape = Landscape(costs, edges=edges, boundary=1e-6, noise=0.01)
    return Problem(space, Goal(Bound(1e-2)), Budget(builds, None)), landscape


class Bench:
    """Measures fake models in this process."""

    def __init__(self, landscape: Landscape) -> None:
        self._backend = FakeBackend(BackendOptions(), landscape.to_json())
        self._plain = sum(landscape.cost(k, FP32).seconds for k in landscape.costs)

    def measure(self, lowered: FakeLowered, fidelity: Fidelity) -> Measurement:
        session = self._backend.open(self._backend.build(lowered.model))
        losses = []
        for feed in FEEDS:
            reference = fake_reference(feed)["output"]
            wrong = np.subtract(session.run(feed)["output"], reference)
            losses.append(float(np.linalg.norm(wrong) / np.linalg.norm(reference)))
        loss = float(np.sqrt(np.mean(np.square(losses))))
        accuracy = Accuracy(loss, loss * 1.02, {"output": loss}, tuple(losses))
        if fidelity is Fidelity.PROXY:
            return Measurement(accuracy)
        samples = tuple(session.time(FEEDS[0], 20))
        seconds = median(samples)
        ratio = seconds / self._plain
        latency = Latency(
            seconds, seconds * 0.99, seconds * 1.01, ratio, ratio * 0.99, ratio * 1.01, samples
        )
        kernels = {k.nodes[0]: k.seconds for k in session.profile(FEEDS[0], 1)}
        return Measurement(accuracy, latency, kernels, dict(lowered.asked))


def write_run(folder: Path, groups: int, builds: int) -> Path:
    """A run directory with its plan beside it."""
    problem, landscape = large_problem(groups, builds)
    run = folder / "large.precsearch"
    trials = []
    with Journal.open(run, IDENTITY) as journal:
        for event in events(problem, landscape):
            journal.append(event)
            if isinstance(event, TrialFinished):
                trials.append(event.trial)
        path = folder / "large.plan.json"
        path.write_text(made_plan(problem, trials).to_json(), encoding="utf-8")
        journal.append(PlanWritten(str(path), 0.5, 0.009))
    return run


def events(problem: Problem, landscape: Landscape) -> Iterator[Event]:
    outline = tuple(map(GroupOutline.of, problem.space.groups))
    yield RunStarted(IDENTITY, "large.onnx", "0")
    count = len(outline)
    yield SearchStarted(
        "fake", "auto", count, count, problem.goal.bound, problem.budget, 0.02, outline=outline
    )
    measure = Bench(landscape).measure
    (evaluate,) = evaluators(fake_lower(problem.space), [measure], {})
    yield from search(problem, registry.strategy("auto"), sequential(evaluate))


def made_plan(problem: Problem, trials: Sequence[Trial]) -> Plan:
    best = problem.goal.best(trials) or trials[0]
    plain = next(t for t in trials if not t.assignment)
    found, first = best.measurement, plain.measurement
    assert found is not None
    assert found.latency is not None
    assert first is not None
    assert first.latency is not None
    chosen = best.assignment
    recipe = Recipe(
        model_sha256=IDENTITY["model"],
        materialised_sha256="cd" * 32,
        lowering="fake",
        scheme="fake",
        granularity="group",
        space_sha256="ef" * 32,
        backend="fake",
        groups=tuple(GroupRecipe(g.key, g.kind, chosen[g.key], "12") for g in problem.space.groups),
        scales=tuple(ScaleRecipe(k, (0.01 * (i + 1)).hex(), 0) for i, k in enumerate(chosen)),
    )
    evidence = Evidence(
        version="0",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        fingerprint=Fingerprint("fake", {"fake": "0"}, "fake"),
        strategy="auto",
        calibration="minmax",
        noise=0.02,
        baseline=first.latency,
        latency=found.latency,
        accuracy=found.accuracy,
        groups=explain_groups(problem, chosen, found.achieved, ledger(trials)),
        trials=trial_evidence(trials),
    )
    criteria = Criteria(metric="rel-l2", tolerance=1e-2, seed=0, data={"random": False})
    return Plan(recipe, criteria, evidence)


def timed(run: Path, page: Path) -> tuple[float, float]:
    """Wall and processor seconds of the command."""
    before = os.times()
    started = time.perf_counter()
    command = [sys.executable, "-m", "precsearch.cli.main", "report", str(run), "-o", str(page)]
    subprocess.run([*command, "--force"], check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = os.times()
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--builds", type=int, default=40)
    parser.add_argument("--keep", type=Path, help="a folder to leave run and page in")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        run = write_run(folder, given.groups, given.builds)
        page = folder / "report.html"
        times = [timed(run, page) for _ in range(REPEATS)]
        wall = sorted(w for w, _ in times)
        used = sorted(u for _, u in times)
        journal = (run / "journal.jsonl").stat().st_size
        lines = [
            "# How long a report takes",
            "",
            f"`python benchmarks/report.py --groups {given.groups} --builds {given.builds}`, "
            f"{datetime.now(timezone.utc):%Y-%m-%d}, Python {platform.python_version()}, "
            f"{os.cpu_count()} cores of an AMD EPYC, load {os.getloadavg()[1]:.1f} of other "
            "work: the processor seconds, of one thread, are the wall seconds of an idle machine.",
            "",
            "| groups | journal | wall seconds: median (range) | processor seconds | page |",
            "|---|---|---|---|---|",
            f"| {given.groups} | {journal / 1e6:.1f} MB | {median(wall):.1f} "
            f"({wall[0]:.1f} to {wall[-1]:.1f}) | {median(used):.1f} | "
            f"{page.stat().st_size / 1e6:.2f} MB |",
            "",
        ]
    text = "\n".join(lines)
    sys.stdout.write(text)
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
