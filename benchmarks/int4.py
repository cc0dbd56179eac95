"""Weights in INT4 on ONNX Runtime: size, speed and error of a model beside FP32 and INT8.

    python -m benchmarks.int4 MODEL DATA -o table.md

All groups that take a precision have it; engines are opened in one process on one thread and timed
in turn. The error is the relative L2 distance of all outputs from FP32's, over the first samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.data import input_specs
from precsearch.data.load import load
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.setup.target import open_target

SAMPLES, ROUNDS = 16, 30
OFFERED = (Precision.FP32, Precision.INT8, Precision.INT4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    target = open_target(read_model(asked.model), "onnxruntime", OFFERED, "group", 1)
    graph, scheme, space = target.graph, target.scheme, target.space
    feeds = load(asked.data, input_specs(graph.inputs)).feeds[:SAMPLES]
    plain = Lowering(graph, space, scheme, RangeScales({}, scheme)).lower(Assignment())
    tensors = sorted(frozenset().union(*quantizable(graph, scheme, space).values()))
    ranges = collect_ranges(Calibration(plain.model, "", tuple(tensors)), feeds)
    lowering = Lowering(graph, space, scheme, RangeScales(ranges, scheme), target.form)
    packed = [g.key for g in space.free if Precision.INT4 in g.choices]
    models = {
        "FP32": Assignment(),
        "INT8": space.uniform(Precision.INT8),
        "INT4 weights": Assignment.of(dict.fromkeys(packed, Precision.INT4)),
    }
    made = {name: lowering.lower(a).model for name, a in models.items()}
    sessions = {name: target.backend.open(model) for name, model in made.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(ROUNDS):
        for name, session in sessions.items():
            seconds[name].append(float(np.median(session.time(feeds[number % SAMPLES], 3))))
    exact = [sessions["FP32"].run(feed) for feed in feeds]
    lines = ["| | size, MB | ms | of FP32's time | error |", "|---|---|---|---|---|"]
    base = np.asarray(seconds["FP32"][5:])
    for name, session in sessions.items():
        off = scale = 0.0
        for feed, wanted in zip(feeds, exact, strict=True):
            for key, value in session.run(feed).items():
                a, b = (np.asarray(v, np.float64) for v in (value, wanted[key]))
                off, scale = off + float(np.sum((a - b) ** 2)), scale + float(np.sum(b**2))
        own = np.asarray(seconds[name][5:])
        lines.append(
            f"| {name} | {len(made[name]) / 1e6:.1f} | {1e3 * np.median(own):.2f} | "
            f"{np.median(own / base):.2f} | {np.sqrt(off / scale):.3f} |"
        )
    asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
