"""What it takes to open an engine again: optimizing each time, and from the model optimized once.

python benchmarks/reopening.py [CONVOLUTIONS...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.setup.target import open_target

OPENINGS = 4


def chain(count: int) -> bytes:
    """Convolutions one after the other, with every fourth added to the one before it."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(count):
        weight = rng.standard_normal((16, 16, 3, 3)).astype(np.float32) * 0.08
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        if i % 4 == 3:
            nodes.append(helper.make_node("Add", [f"r{i}", last], [f"a{i}"], f"add{i}"))
        last = f"a{i}" if i % 4 == 3 else f"r{i}"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("x", TensorProto.FLOAT, [1, 16, 16, 16])],
        [value(last, TensorProto.FLOAT, [1, 16, 16, 16])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return made


def in_int8(model: bytes, folder: Path) -> bytes:
    """The lowered model with every group in INT8; ranges are made up, which changes no time."""
    path = folder / "chain.onnx"
    path.write_bytes(model)
    target = open_target(read_model(path), "onnxruntime", None, "group", 1)
    tensors = quantizable(target.graph, target.scheme, target.space)
    ranges = {t: TensorRange(-3.0, 3.0) for t in frozenset().union(*tensors.values())}
    scales = RangeScales(ranges, target.scheme)
    lowering = Lowering(target.graph, target.space, target.scheme, scales, target.form)
    return lowering.lower(target.space.uniform(Precision.INT8)).model


def openings(model: bytes, cache: str) -> list[float]:
    """CPU seconds of each opening, on one thread: a busy machine does not change them."""
    backend = OnnxRuntimeBackend(BackendOptions(threads=1, scratch=cache))
    seconds = []
    for _ in range(OPENINGS):
        start = time.process_time()
        backend.open(model).close()
        seconds.append(time.process_time() - start)
    return seconds


def main(counts: list[int]) -> None:
    print("| convolutions | precision | each time (CPU s) | optimized once (CPU s) | sum |")
    print("|---|---|---|---|---|")
    for count in counts:
        plain_model = chain(count)
        onnx.checker.check_model(plain_model)
        with tempfile.TemporaryDirectory() as folder:
            models = {"FP32": plain_model, "INT8": in_int8(plain_model, Path(folder))}
            for name, model in models.items():
                plain = openings(model, "")
                kept = openings(model, str(Path(folder) / f"{name}.cache"))
                rows = [" ".join(f"{s:.2f}" for s in row) for row in (plain, kept)]
                total = f"{sum(plain):.2f} → {sum(kept):.2f}"
                print(f"| {count} | {name} | {rows[0]} | {rows[1]} | {total} |", flush=True)


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [100, 300, 1000])
