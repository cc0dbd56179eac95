"""Every typed model that precsearch writes for a folder of models, built by TensorRT-RTX.

    python -m benchmarks.typed FOLDER --model NAME … --state typed.jsonl -o typed.md
    python -m benchmarks.typed --pairs 2000 --state typed.jsonl -o typed.md

Needs ``precsearch[tensorrt-rtx]`` and no GPU. Each model is ``FOLDER/NAME/{model.onnx,data.npz}``;
its ranges are those of the first samples. Built are each precision on everything that offers it,
the same less the groups that the rules on hazards take out, and random assignments; the first two
for every target, the random ones for one target each, in turn. With ``--pairs``, random small
models with one random assignment each. What is in the state file is not built again, so a long run
can be made in pieces (``--seconds``). What was begun and not finished crashed the builder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.typed.builds import Outcome, Shapes, outcome
from benchmarks.typed.pairs import random_pairs
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.data import input_specs
from precsearch.data.load import load
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.optimization.preview.inspection import inspect
from precsearch.setup.target import open_target

TARGETS = ("sm80", "sm89", "sm120")
SAMPLES = 4


class State:
    """Rows by name, kept in a file of JSON lines."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.until = time.monotonic() + seconds
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, dict[str, Any]] = {}
        for line in lines:
            row = json.loads(line)
            self.rows[row["name"]] = row

    def run(self, name: str, make: Callable[[], Outcome]) -> bool:
        """Fill a row if it is missing; false when the time is over."""
        if name in self.rows:
            return True
        if time.monotonic() > self.until:
            return False
        self._write({"name": name, "stage": "crash"})
        self._write({"name": name, **asdict(make())})
        return True

    def _write(self, row: dict[str, Any]) -> None:
        self.rows[row["name"]] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def assignments(
    folder: Path, lowering: Lowering, count: int, precisions: tuple[Precision, ...]
) -> Iterator[tuple[str, Assignment]]:
    """Names and assignments: each precision on all, the same less the hazards, random ones."""
    space = lowering.space
    found = inspect(
        folder / "model.onnx",
        backend="tensorrt-rtx",
        precisions=precisions,
        data=folder / "data.npz",
    )
    for precision in precisions:
        yield f"all {precision}", space.uniform(precision)
        bad = {p.key for p in found.hazards if p.precision.rank <= precision.rank}
        if bad and precision is not Precision.FP32:
            yield f"{precision} less hazards", space.uniform(precision, without=bad)
    rng = np.random.default_rng(0)
    for number in range(count):
        drawn = {g.key: g.choices[rng.integers(len(g.choices))] for g in space.free}
        yield f"random {number}", space.canonical(Assignment.of(drawn))


def build_model(folder: Path, count: int, precisions: tuple[Precision, ...], state: State) -> bool:
    """All rows of one model; false when the time is over."""
    source = read_model(folder / "model.onnx")
    target = open_target(source, "tensorrt-rtx", precisions, "group", 1)
    graph, scheme, space = target.graph, target.scheme, target.space
    feeds = load(folder / "data.npz", input_specs(graph.inputs)).feeds[:SAMPLES]
    shapes: list[Shapes] = [{n: v.shape for n, v in feed.items()} for feed in feeds]
    tensors = frozenset().union(*quantizable(graph, scheme, space).values())
    plain = Lowering(graph, space, scheme, RangeScales({}, scheme)).lower(Assignment())
    where = str(source.folder) if source.external else ""
    ranges = collect_ranges(Calibration(plain.model, where, tuple(sorted(tensors))), feeds)
    lowering = Lowering(graph, space, scheme, RangeScales(ranges, scheme), target.form)
    turn = 0
    for name, assignment in assignments(folder, lowering, count, precisions):
        chosen: tuple[str, ...] = TARGETS
        if name.startswith("random"):
            chosen, turn = (TARGETS[turn % len(TARGETS)],), turn + 1
        for to in chosen:
            made = partial(_built, lowering, assignment, to, shapes)
            if not state.run(f"{folder.name} | {name} | {to}", made):
                return False
    return True


def _built(lowering: Lowering, assignment: Assignment, to: str, shapes: list[Shapes]) -> Outcome:
    try:
        lowered = lowering.lower(assignment)
    except OptionError as error:
        return Outcome("refused", message=str(error))
    return outcome(lowered, to, shapes)


def _drawn(lowered: Callable[[], Lowered], to: str, shapes: list[Shapes]) -> Outcome:
    return outcome(lowered(), to, shapes)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """A row for each model: how many were built, what ran otherwise, seconds."""
    lines = [
        "| model | typed models | parsed | built | products | run as asked | not told | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    models = dict.fromkeys(name.partition(" | ")[0] for name in rows)
    said: Counter[str] = Counter()
    for model in models:
        mine = [r for n, r in rows.items() if n.partition(" | ")[0] == model]
        built = [r for r in mine if r["stage"] == "built"]
        parsed = sum(r["stage"] in ("built", "build") for r in mine)
        other = [line for r in built for line in r["other"]]
        said.update(other)
        said.update(r["message"] for r in mine if r["stage"] not in ("built", "crash"))
        silent, products = (sum(r[key] for r in built) for key in ("silent", "products"))
        as_asked = products - silent - len(other)
        seconds = sum(r["seconds"] for r in built)
        lines.append(
            f"| {model} | {len(mine)} | {parsed} | {len(built)} | {products} | {as_asked} | "
            f"{silent} | {seconds:.0f} |"
        )
    lines += ["", *(f"- {count} x {line}" for line, count in said.most_common())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--random", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--precisions", default="fp32,fp16,int8")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    precisions = tuple(Precision(p) for p in asked.precisions.split(","))
    state = State(asked.state, asked.seconds)
    for name in asked.model:
        if not build_model(asked.folder / name, asked.random, precisions, state):
            break
    for number, (lowered, shapes) in enumerate(random_pairs(asked.pairs, precisions)):
        to = TARGETS[number % len(TARGETS)]
        if not state.run(f"pairs | {number} | {to}", partial(_drawn, lowered, to, shapes)):
            break
    asked.output.write_text(table(state.rows))


if __name__ == "__main__":
    main()
