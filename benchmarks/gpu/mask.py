"""INT8 beside a mask that FP16 cannot hold: right or wrong by what the rest of the engine runs in.

    python benchmarks/gpu/mask.py --fixtures DIR -o OUT

``minilm_l6_banking77`` at batch 32, some groups in INT8 and all else asked for FP16: as it is, with
the mask's product pinned to FP32, and with the mask constant clamped to what FP16 holds and to what
``--rewrite`` writes. DIR holds its folder. Prints one table; OUT gets every number as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.gpu.judging import Row, as_row, table
from benchmarks.gpu.stories import unsearched
from precsearch.api import OptimizeConfig
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import Fidelity
from precsearch.executors.candidates import candidate
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementService

_MASK = "/Mul_output_0"
_HALF_MAX, _CLAMPED = 65504.0, 1e4


def clamped(model: Path, limit: float, made: Path) -> Path:
    """The model with the constants that FP16 cannot hold clamped."""
    proto = onnx.load(model)
    attributes = [a for n in proto.graph.node if n.op_type == "Constant" for a in n.attribute]
    for tensor in (*proto.graph.initializer, *(a.t for a in attributes if a.name == "value")):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and np.abs(array).max(initial=0.0) > _HALF_MAX:
            tensor.CopyFrom(numpy_helper.from_array(np.clip(array, -limit, limit), tensor.name))
    onnx.save(proto, made)
    return made


def parts(space: SearchSpace) -> dict[str, Assignment]:
    """What is in INT8, over FP16."""
    offered = [g for g in space.free if Precision.INT8 in g.choices]
    products = [g.key for g in offered if g.kind == "attention"]
    weighted = [g.key for g in offered if g.kind == "matmul"]
    chosen = {
        "attention's products": products,
        "the projections to Q, K, V": [k for k in weighted if "Transpose" in k],
        "the projections after attention": [k for k in weighted if "dense" in k],
        "all groups": [g.key for g in offered],
    }
    half = space.uniform(Precision.FP16)
    return {
        name: space.canonical(half.with_(dict.fromkeys(keys, Precision.INT8)))
        for name, keys in chosen.items()
    }


def measured(name: str, model: Path, args: argparse.Namespace, *, pinned: bool) -> Iterator[Row]:
    """The engines of one model."""
    data = args.fixtures / "minilm_l6_banking77" / "data.npz"
    run_dir = args.work / f"{model.stem}.run"
    config = OptimizeConfig(model, data, 1e-2, backend="tensorrt", batch=32, run_dir=run_dir)
    setup, lowering = unsearched(config)
    space = lowering.space
    bench = MeasurementService(Place(), setup, lambda _: None)
    bench.calibrate_noise()
    for part, assignment in parts(space).items():
        changes: dict[str, Precision] = {_MASK: Precision.FP32} if pinned else {}
        lowered = lowering.lower(space.canonical(assignment.with_(changes)))
        found = bench.measure(candidate(lowered), Fidelity.ENGINE)
        assert found.latency is not None
        yield as_row(name, part, found, found.latency, 1e-2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fixtures", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    for folder in (args.output, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    model = args.fixtures / "minilm_l6_banking77" / "model.onnx"
    held = clamped(model, _HALF_MAX, args.work / "held.onnx")
    rewritten = clamped(model, _CLAMPED, args.work / "rewritten.onnx")
    rows: list[Row] = []
    cases: tuple[tuple[str, Path, dict[str, Any]], ...] = (
        ("as it is", model, {"pinned": False}),
        ("mask pinned to FP32", model, {"pinned": True}),
        ("mask constant -65504", held, {"pinned": False}),
        ("mask constant -1e4", rewritten, {"pinned": False}),
    )
    for name, path, options in cases:
        rows += measured(name, path, args, **options)
        text = json.dumps([asdict(r) for r in rows], indent=1, default=str)
        (args.output / "mask.json").write_text(text)
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
