"""FP16 faults that no range rule sees: how many engines, how many nodes stay FP32, false passes.

    python -m benchmarks.planted_fp16 MODEL DATA [MODEL DATA …]

For the models of `gen_synth.py` (a planted overflow; a planted cancellation of ±256). No FP16
engine runs on a CPU, so an "engine" is the proxy's true rounding to FP16, and its latency is a
table: half of FP32's for each node in FP16, a twentieth of a node for each cast. No rule gives a
hint. Every answer is scored again with the same rounding on samples that the search did not see.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.events import TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Fidelity, Latency, Measured, Measurement, Proposal
from precsearch.data import input_specs, load
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.search.evaluator import Evaluated, Steps
from precsearch.search.loop import search
from precsearch_strategies import Auto

CAST = 0.05  # of a node


@dataclass(frozen=True)
class Case:
    """A model whose FP16 is emulated."""

    graph: ProxyGraph
    proxy: Proxy
    reference: Sequence[Feed]
    feeds: Sequence[Feed]

    def loss(self, assignment: Assignment, some: slice) -> float:
        """Relative L2 on some samples; ``inf`` if any output is not finite."""
        outputs = self.proxy.run(self.graph.request(assignment), self.feeds[some])
        worst = 0.0
        for name in outputs[0]:
            got = np.concatenate([np.asarray(o[name], np.float64).ravel() for o in outputs])
            wanted = [np.asarray(r[name], np.float64).ravel() for r in self.reference[some]]
            right = np.concatenate(wanted)
            if not np.isfinite(got).all():
                return float("inf")
            worst = max(worst, float(np.linalg.norm(got - right) / np.linalg.norm(right)))
        return worst


def opened(model: Path, data: Path) -> tuple[Case, Problem]:
    """The case and what is wanted of it: 1e-2, no hint of any rule."""
    scheme = OnnxRuntimeBackend(BackendOptions(threads=1)).scheme
    graph = prepare(read_model(model))
    space = group(graph, scheme, frozenset({Precision.FP32, Precision.FP16}), "node")
    feeds = list(load(data, input_specs(graph.inputs)).feeds)
    scales = RangeScales({}, scheme)
    plain = Lowering(graph, space, scheme, scales).lower(Assignment()).model
    session = OnnxRuntimeBackend(BackendOptions(threads=1)).open(plain)
    made = ProxyGraph(LoweringContext(graph, space, scheme, scales))
    case = Case(made, Proxy(made.proxy, 1), [session.run(f) for f in feeds], feeds)
    return case, Problem(space, Goal(Bound(1e-2), 0.005))


def run(model: Path, data: Path) -> str:
    """Search; one line of the table."""
    case, problem = opened(model, data)
    half = len(case.feeds) // 2
    space = problem.space

    def seconds(a: Assignment) -> float:
        casts = sum(a[space.groups[i].key] is not a[space.groups[j].key] for i, j in space.edges)
        return len(space.groups) - 0.5 * len(a) + CAST * casts

    def evaluate(proposals: Sequence[Proposal]) -> Steps:
        for position, p in enumerate(proposals):
            yield position, None
            loss = case.loss(p.assignment, slice(0, half))
            ratio = seconds(p.assignment) / len(space.groups)
            latency = Latency(ratio, ratio, ratio, ratio, ratio, ratio)
            engine = p.fidelity is Fidelity.ENGINE
            m = Measurement(Accuracy(loss, loss), latency if engine else None)
            yield position, Evaluated(Measured(m), p.assignment.digest, 0.0)

    events = search(problem, Auto(), evaluate)
    trials = [e.trial for e in events if isinstance(e, TrialFinished)]
    engines = [t for t in trials if t.proposal.fidelity is Fidelity.ENGINE]
    best = problem.goal.best(engines)
    assert best is not None
    first = next(
        i
        for i, t in enumerate(engines, 1)
        if len(t.assignment) and t.measurement and problem.goal.passes(t.measurement)
    )
    left = len(space.free) - len(best.assignment)
    fresh = case.loss(best.assignment, slice(half, None))
    return (
        f"| {model.parent.name} | {len(space.free)} | {left} | {len(engines)} | {first} "
        f"| {len(trials) - len(engines)} | {case.loss(best.assignment, slice(0, half)):.2e} "
        f"| {fresh:.2e} | {'no' if fresh <= 1e-2 else 'YES'} |"
    )


def main() -> None:
    """Search each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="+", type=Path, help="MODEL DATA pairs")
    args = parser.parse_args()
    print(
        "| model | nodes | left in FP32 | engines | first to pass | proxies | error, searched "
        "| error, fresh | false pass |"
    )
    print("|" + "---|" * 9)
    for model, data in zip(args.files[::2], args.files[1::2], strict=True):
        print(run(model, data), flush=True)


if __name__ == "__main__":
    main()
