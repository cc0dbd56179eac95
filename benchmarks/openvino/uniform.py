"""One precision everywhere on OpenVINO, and the proxy's error beside the engine's, as Markdown.

    python -m benchmarks.openvino.uniform FOLDER --model NAME …

Each model is ``FOLDER/NAME/{model.onnx,data.npz}``; the first samples are used. Errors are relative
L2 against the FP32 engine. Engines are timed by turns, one thread; the 25th percentile is shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import Array, BackendOptions, Feed
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.data import load
from precsearch.data.spec import input_specs
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.graph.reading.read import read_model
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.setup.target import open_target

FP32, BF16, INT8 = Precision.FP32, Precision.BF16, Precision.INT8
SAMPLES = 6
ROUNDS = 45


@dataclass
class Case:
    """A model with calibrated scales."""

    path: Path

    def __post_init__(self) -> None:
        self.target = open_target(
            read_model(self.path / "model.onnx"), "openvino", None, "group", 1
        )
        graph, scheme, form = self.target.graph, self.target.scheme, self.target.form
        self.feeds = load(self.path / "data.npz", input_specs(graph.inputs)).feeds[:SAMPLES]
        shapes = {name: np.shape(value) for name, value in self.feeds[0].items()}
        folder = self.target.options.model_folder
        self.backend = self.target.factory(
            BackendOptions(threads=1, shapes=(shapes,), model_folder=folder)
        )
        wanted = quantizable(graph, scheme, self.target.space).values()
        plain = Lowering(graph, self.target.space, scheme, RangeScales({}, scheme), form)
        tensors = tuple(sorted({t for found in wanted for t in found}))
        calibration = Calibration(plain.lower(Assignment()).model, folder, tensors)
        self.scales = RangeScales(collect_ranges(calibration, self.feeds), scheme)
        self.lowering = Lowering(graph, self.target.space, scheme, self.scales, form)

    def build(self, assignment: Assignment) -> bytes:
        return self.backend.build(self.lowering.lower(assignment).model)

    def run(self, engine: bytes) -> list[dict[str, Array]]:
        session = self.backend.open(engine)
        return [session.run(feed) for feed in self.feeds]

    def milliseconds(self, engines: Sequence[bytes]) -> list[float]:
        sessions = [self.backend.open(engine) for engine in engines]
        times: list[list[float]] = [[] for _ in sessions]
        for _ in range(ROUNDS):
            for session, row in zip(sessions, times, strict=True):
                row.extend(session.time(self.feeds[0], 3))
        return [float(np.percentile(row[3:], 25)) * 1e3 for row in times]

    def proxied(self, assignment: Assignment) -> float:
        target = self.target
        made = ProxyGraph(
            LoweringContext(target.graph, target.space, target.scheme, self.scales, target.form)
        )
        proxy = Proxy(made.proxy, 1, 1, target.options.model_folder)
        plain = proxy.run(made.request(Assignment()), self.feeds)
        return error(proxy.run(made.request(assignment), self.feeds), plain)


def error(found: Sequence[Mapping[str, Array]], wanted: Sequence[Feed]) -> float:
    """Relative L2 over all samples, of the worst output."""
    worst = 0.0
    for name in wanted[0]:
        value, reference = (
            np.concatenate([np.ravel(row[name]) for row in rows]).astype(np.float64)
            for rows in (found, wanted)
        )
        worst = max(worst, float(np.linalg.norm(value - reference) / np.linalg.norm(reference)))
    return worst if np.isfinite(value).all() else float("nan")


def row(path: Path) -> str:
    """One line of the table."""
    case = Case(path)
    space = case.target.space
    int8 = space.uniform(INT8)
    alone = space.canonical(Assignment.of({k: p for k, p in int8.entries if p is INT8}))
    bf16 = space.uniform(BF16)
    engines = [case.build(a) for a in (Assignment(), bf16, alone, int8)]
    plain, *others = (case.run(engine) for engine in engines)
    losses = [error(found, plain) for found in others]
    base, *times = case.milliseconds(engines)
    cells = [f"{e:.2g}, {base / t:.2f}x" for e, t in zip(losses, times, strict=True)]
    share = case.proxied(bf16) / losses[0]
    return f"| {path.name} | {base:.3g} | {' | '.join(cells)} | {share:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", required=True)
    args = parser.parse_args()
    print("| model | FP32 ms | BF16: error, speed | INT8, rest FP32 | INT8, rest BF16 | proxy |")
    print("|---|---|---|---|---|---|")
    for name in args.model:
        print(row(args.folder / name), flush=True)


if __name__ == "__main__":
    main()
