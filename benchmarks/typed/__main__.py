"""Every typed model that precsearch writes for a folder of models, built by TensorRT-RTX.

    python -m benchmarks.typed FOLDER --model NAME … --state typed.jsonl -o typed.md
    python -m benchmarks.typed --pairs 2000 --state typed.jsonl -o typed.md

Needs ``precsearch[tensorrt-rtx]`` and no GPU. Each model is ``FOLDER/NAME/{model.onnx,data.npz}``;
its ranges are those of the first samples. Built are each precision of ``--uniform`` on everything
that offers it, the same less the groups that the rules on hazards take out, and random assignments
of all ``--precisions``; the first two for every target, the random ones for one target each, in
turn. With ``--pairs``, random small models with one random assignment each.

What is in the state file is not built again, so that a long run can be made in pieces
(``--seconds``) and survives being killed. What was begun twice and never finished crashes the
builder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.typed.builds import Outcome, Shapes, outcome
from benchmarks.typed.pairs import random_pairs
from benchmarks.typed.sets import TARGETS, TypedSet, typed_sets
from benchmarks.typed.state import State, table
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.lowering.lower import Lowered


def build_model(
    folder: Path,
    count: int,
    precisions: tuple[Precision, ...],
    uniform: tuple[Precision, ...],
    state: State,
) -> bool:
    """All rows of one model; false when the time is over."""
    for made in typed_sets(folder, precisions):
        for precision in filter(uniform.__contains__, made.refused):
            refused = partial(Outcome, "refused", message=made.refused[precision])
            state.run(f"{folder.name} | all {precision} | {made.target}", refused)
        for name, assignment in made.assignments(count, uniform):
            make = partial(_built, made, assignment)
            if not state.run(f"{folder.name} | {name} | {made.target}", make):
                return False
    return True


def _built(made: TypedSet, assignment: Assignment) -> Outcome:
    try:
        lowered = made.lowering.lower(assignment)
    except OptionError as error:
        return Outcome("refused", message=str(error))
    return outcome(lowered, made.target, made.shapes)


def _drawn(lowered: Callable[[], Lowered], to: str, shapes: list[Shapes]) -> Outcome:
    return outcome(lowered(), to, shapes)


def _named(text: str) -> tuple[Precision, ...]:
    return tuple(Precision(p) for p in text.split(","))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--random", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--precisions", default="fp32,fp16,int8")
    parser.add_argument("--uniform", default="", help="all of --precisions, unless given")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    precisions = _named(asked.precisions)
    uniform = _named(asked.uniform or asked.precisions)
    state = State(asked.state, asked.seconds)
    for name in asked.model:
        if not build_model(asked.folder / name, asked.random, precisions, uniform, state):
            break
    for number, (lowered, shapes) in enumerate(random_pairs(asked.pairs, precisions)):
        to = TARGETS[number % len(TARGETS)]
        if not state.run(f"pairs | {number} | {to}", partial(_drawn, lowered, to, shapes)):
            break
    asked.output.write_text(table(state.rows))


if __name__ == "__main__":
    main()
