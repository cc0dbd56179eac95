"""BF16 and FP8 in the proxy beside the same model in ml_dtypes' arithmetic.

    python -m benchmarks.proxy_formats FOLDER --model NAME … -o table.md

The lowered model, with its Casts and Q/DQ, runs in ONNX's reference evaluator, which computes in
NumPy with the types of ml_dtypes; the proxy of the same assignment runs in ONNX Runtime in FP32 and
rounds what is stored. Each is compared with FP32 (*error*), and the two with each other (*apart*):
relative L2 over all outputs of one sample.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import TYPED, Feed
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.data import input_specs
from precsearch.data.load import load
from precsearch.emulation.single import FlatProxy
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales


def distance(found: Sequence[Any], wanted: Sequence[Any]) -> float:
    off = scale = 0.0
    for mine, other in zip(found, wanted, strict=True):
        a, b = (np.asarray(v, np.float64) for v in (mine, other))
        off, scale = off + float(np.sum((a - b) ** 2)), scale + float(np.sum(b**2))
    return float(np.sqrt(off / scale)) if scale else float(off > 0)


def unoptimized(model: bytes, feed: Feed) -> list[Any]:
    """As the graph says, node by node: an optimizer would take the rounding out."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, dict(feed))
    return found


def row(folder: Path, precision: Precision) -> str:
    form, chosen = TYPED.raised(22), scheme()
    graph = prepare(read_model(folder / "model.onnx"), form.min_opset)
    space = group(graph, chosen, frozenset({Precision.FP32, precision}), "group", form)
    feeds = load(folder / "data.npz", input_specs(graph.inputs)).feeds[:4]
    plain = Lowering(graph, space, chosen, RangeScales({}, chosen), form).lower(Assignment())
    tensors = sorted(frozenset().union(*quantizable(graph, chosen, space).values()))
    found = collect_ranges(Calibration(plain.model, "", tuple(tensors)), feeds) if tensors else {}
    scales = RangeScales(found, chosen)
    asked = space.uniform(precision)
    names = [o.name for o in graph.outputs]
    feed = feeds[0]
    proxy = FlatProxy(LoweringContext(graph, space, chosen, scales, form), asked).with_outputs(
        names
    )
    lowered = Lowering(graph, space, chosen, scales, form).lower(asked)
    exact, emulated = (unoptimized(m, feed) for m in (plain.model, proxy))
    evaluator = ReferenceEvaluator(onnx.load_model_from_string(lowered.model))
    typed = list(evaluator.run(None, dict(feed)))
    return (
        f"| {folder.name} | {precision} | {len(lowered.asked)} | {distance(emulated, exact):.2e} | "
        f"{distance(typed, exact):.2e} | {distance(emulated, typed):.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    lines = [
        "| model | precision | nodes | error of the proxy | error in ml_dtypes | apart |",
        "|---|---|---|---|---|---|",
    ]
    for name in asked.model:
        for precision in (Precision.BF16, Precision.FP8):
            lines.append(row(asked.folder / name, precision))
            print(lines[-1], flush=True)
    asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
