"""How much sooner a search ends with several devices: a simulation with a clock of its own.

    python -m benchmarks.devices --seeds 10
    python -m benchmarks.devices --seeds 4 --recorded

The planted spaces of `benchmarks.large_spaces`. An engine takes 30 s, times a log-normal factor of
mean 1 that depends on the assignment alone; a proxy takes 0.3 s. Each device does one thing at a
time, and answers are taken as they come. The strategy's own thinking is not counted. The gap is
that of the engine that ships over the planted optimum, both without noise. With ``--recorded``, the
recorded landscapes instead (`benchmarks.landscapes.replay`), under bounds that 30 and 50 % of the
assignments pass; the gap is over the optimum of the record, by its second timing.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from benchmarks.landscapes.replay import Landscape, load
from benchmarks.large_spaces import Planted, bell
from precsearch.core.events import TrialFinished
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity, Measured, Outcome, Proposal, Trial
from precsearch.registry import strategy
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search

ENGINE_S, PROXY_S = 30.0, 0.3
GOAL = Goal(Bound(1.0, guard=1.0), noise=0.01)
RECORDS = Path(__file__).parent / "landscapes"
SHARES = (0.3, 0.5)


class Modelled(Protocol):
    """What engines and proxies of a simulated model measure."""

    def outcome(self, proposal: Proposal) -> Outcome:
        """Of one proposal."""
        ...


@dataclass
class Devices:
    """Evaluates proposals on devices that are simulated.

    Attributes:
        model: What is searched.
        count: How many devices.
        sigma: Standard deviation of the logarithm of the time that an engine takes.
        now: Seconds since the start.
        busy: Seconds that devices have worked, all together.
    """

    model: Modelled
    count: int
    sigma: float = 0.0
    now: float = 0.0
    busy: float = field(default=0.0)

    def seconds(self, proposal: Proposal) -> float:
        """What a proposal takes."""
        if proposal.fidelity is Fidelity.PROXY:
            return PROXY_S
        wide = self.sigma * bell(proposal.assignment, "seconds")[0] - self.sigma**2 / 2
        return ENGINE_S * math.exp(wide)

    def evaluate(self, proposals: Sequence[Proposal]) -> Steps:
        """See `precsearch.search.evaluator.Evaluate`."""
        queue, begun, running = list(proposals), 0, list[tuple[float, int, float]]()
        while begun < len(queue) or running:
            while begun < len(queue) and len(running) < self.count:
                position, begun = begun, begun + 1
                queue += (yield position, None) or ()
                took = self.seconds(queue[position])
                heapq.heappush(running, (self.now + took, position, took))
            self.now, position, took = heapq.heappop(running)
            self.busy += took
            proposal = queue[position]
            outcome = self.model.outcome(proposal)
            found = Evaluated(outcome, proposal.assignment.digest, took)
            queue += (yield position, found) or ()


@dataclass(frozen=True)
class Run:
    """One search: its wall time and that to within 2 % of the optimum, and what it found."""

    wall: float
    near: float
    engines: int
    gap: float
    used: float


@dataclass(frozen=True)
class Recorded:
    """A recorded landscape as `Devices` wants it."""

    landscape: Landscape

    def outcome(self, proposal: Proposal) -> Outcome:
        row = self.landscape.rows[proposal.assignment]
        return Measured(self.landscape.measurement(row, proposal.fidelity))


def run(model: Planted, count: int, sigma: float, builds: int, seed: int) -> Run:
    """Search a planted space with so many devices."""
    problem = Problem(model.space, GOAL, Budget(builds), seed=seed, devices=count)
    return _searched(problem, Devices(model, count, sigma), model.seconds, model.optimum)


def run_recorded(landscape: Landscape, share: float, count: int, sigma: float, seed: int) -> Run:
    """Search a recorded landscape with so many devices."""
    problem = replace(landscape.problem(share, seed), devices=count)
    optimum = landscape.optimum(problem)
    devices = Devices(Recorded(landscape), count, sigma)
    return _searched(problem, devices, lambda a: landscape.score(landscape.rows[a]) / optimum, None)


def _searched(
    problem: Problem,
    devices: Devices,
    seconds: Callable[[Assignment], float],
    optimum: Assignment | None,
) -> Run:
    """``seconds`` are over the optimum's where that is ``None``."""
    aim = 1.0 if optimum is None else seconds(optimum)
    trials, near = list[Trial](), math.inf
    clock = lambda: devices.now  # noqa: E731 - the loop asks for a function
    for event in search(problem, strategy("auto"), devices.evaluate, clock=clock):
        if isinstance(event, TrialFinished):
            trials.append(event.trial)
            found = event.trial.measurement
            good = found is not None and found.latency is not None and problem.goal.passes(found)
            if good and seconds(event.trial.assignment) <= 1.02 * aim:
                near = min(near, devices.now)
    engines = [t for t in trials if t.proposal.fidelity is Fidelity.ENGINE]
    best = problem.goal.best(engines)
    gap = seconds(best.assignment if best else Assignment()) / aim - 1
    used = devices.busy / (devices.count * devices.now)
    return Run(devices.now, near, len(engines), gap, used)


def main() -> None:
    """Run all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--sizes", nargs="*", default=["60/2", "300/10"])
    parser.add_argument("--sigmas", nargs="*", type=float, default=[0.0, 0.3])
    parser.add_argument("--devices", nargs="*", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--recorded", action="store_true", help="the recorded landscapes")
    args = parser.parse_args()
    print(
        "| groups / sensitive | sigma | devices | wall, s | speed-up | to within 2 %, s "
        "| engines | gap: median, worst | devices busy |"
    )
    print("|" + "---|" * 9)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    if args.recorded:
        _recorded(seeds, args.sigmas, args.devices)
        return
    for size in args.sizes:
        n, hot = map(int, size.split("/"))
        models = [Planted.draw(n, hot, 0.35, seed) for seed in seeds]
        for sigma in args.sigmas:
            one: list[Run] = []
            for count in args.devices:
                rows = [run(m, count, sigma, 60, s) for m, s in zip(models, seeds, strict=True)]
                one = one or rows
                print(_line(size, sigma, count, one, rows), flush=True)


def _recorded(seeds: Sequence[int], sigmas: Sequence[float], devices: Sequence[int]) -> None:
    """All recorded landscapes together."""
    records = [load(path) for path in sorted(RECORDS.rglob("*.npz"))]
    for sigma in sigmas:
        one: list[Run] = []
        for count in devices:
            rows = [
                run_recorded(record, share, count, sigma, seed)
                for record in records
                for share in SHARES
                for seed in seeds
            ]
            one = one or rows
            print(_line(f"{len(records)} records", sigma, count, one, rows), flush=True)


def _line(size: str, sigma: float, count: int, one: Sequence[Run], rows: Sequence[Run]) -> str:
    middle = statistics.median
    faster = sum(r.wall for r in one) / sum(r.wall for r in rows)
    return (
        f"| {size} | {sigma:g} | {count} | {middle(r.wall for r in rows):.0f} | {faster:.2f}x "
        f"| {middle(r.near for r in rows):.0f} | {middle(r.engines for r in rows):g} "
        f"| {middle(r.gap for r in rows):.2%}, {max(r.gap for r in rows):.2%} "
        f"| {statistics.mean(r.used for r in rows):.0%} |"
    )


if __name__ == "__main__":
    main()
