"""What ONNX Runtime's CPU provider gains from operators in INT8, one by one.

    python -m benchmarks.integer_operators [-o TABLE.md]

Each operator is timed with uint8 in and out (DequantizeLinear, operator, QuantizeLinear, which ONNX
Runtime fuses where it has a kernel) and with floats in and out, by turns in one process, one
thread. The least of 25 runs counts. *Error* is relative L2 of what the operator adds over inputs
that are rounded already.

Below that: four layers of Conv and SiLU with SiLU in floats and in INT8; a product of two
activations; and a product with weights whose activations are rounded by a range that is known, or
by the range of each inference (DynamicQuantizeLinear and MatMulInteger, ConvInteger).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

RUNS = 25
SHAPE = (1, 64, 52, 52)
RNG = np.random.default_rng(0)

MOVES = ("Concat", "MaxPool", "Resize", "Where", "Transpose")

Nodes = list[onnx.NodeProto]
Weights = dict[str, np.ndarray]


def operators() -> Mapping[str, tuple[str, int, dict[str, Any]]]:
    """Name → operator, number of activations, attributes."""
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return {
        "Concat": ("Concat", 2, {"axis": 1}),
        "GlobalAveragePool": ("GlobalAveragePool", 1, {}),
        "Sigmoid": ("Sigmoid", 1, {}),
        "Add": ("Add", 2, {}),
        "Mul": ("Mul", 2, {}),
        "LeakyRelu": ("LeakyRelu", 1, {"alpha": 0.1}),
        "Tanh": ("Tanh", 1, {}),
        "Erf": ("Erf", 1, {}),
        "HardSigmoid": ("HardSigmoid", 1, {}),
        "HardSwish": ("HardSwish", 1, {}),
        "Softmax": ("Softmax", 1, {"axis": -1}),
        "AveragePool": ("AveragePool", 1, pool),
        "MaxPool": ("MaxPool", 1, pool),
        "Resize": ("Resize", 1, {"mode": "nearest"}),
        "Where": ("Where", 2, {}),
        "Transpose": ("Transpose", 1, {"perm": [0, 2, 3, 1]}),
    }


def quantized(tensor: str, low: float, high: float, weights: Weights) -> tuple[Nodes, str]:
    """Rounds a tensor to uint8; its dequantized values."""
    step = (high - low) / 255
    weights[f"{tensor}_scale"] = np.asarray(step, np.float32)
    weights[f"{tensor}_zero"] = np.asarray(round(-low / step), np.uint8)
    params = [f"{tensor}_scale", f"{tensor}_zero"]
    node = helper.make_node
    return [
        node("QuantizeLinear", [tensor, *params], [f"{tensor}_q"]),
        node("DequantizeLinear", [f"{tensor}_q", *params], [f"{tensor}_dq"]),
    ], f"{tensor}_dq"


def model(
    nodes: Nodes, weights: Weights, inputs: Sequence[tuple[str, int, Any]], output: str, kind: int
) -> bytes:
    """A serialized model of one output."""
    graph = helper.make_graph(
        nodes,
        "operator",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_tensor_value_info(output, kind, None)],
        [numpy_helper.from_array(w, n) for n, w in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


def opened(data: bytes) -> ort.InferenceSession:
    """A session of one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def timed(pairs: Sequence[tuple[ort.InferenceSession, Mapping[str, Any]]]) -> list[float]:
    """Least microseconds of each session, run by turns."""
    least = [float("inf")] * len(pairs)
    for _ in range(RUNS):
        for index, (session, feed) in enumerate(pairs):
            start = time.perf_counter()
            session.run(None, feed)
            least[index] = min(least[index], time.perf_counter() - start)
    return [t * 1e6 for t in least]


def one(name: str) -> list[str]:
    """A row: FP32 and INT8 in microseconds, their ratio, the error of INT8."""
    op_type, count, attributes = operators()[name]
    names = [f"x{i}" for i in range(count)]
    extra: Weights = {}
    inputs = list(names)
    if name == "Resize":
        extra["scales"] = np.array([1, 1, 2, 2], np.float32)
        inputs += ["", "scales"]
    if name == "Where":
        extra["choice"] = RNG.random(SHAPE) < 0.5
        inputs.insert(0, "choice")
    values = {n: RNG.normal(0, 1, SHAPE).astype(np.float32).clip(-4, 4) for n in names}
    plain = model(
        [helper.make_node(op_type, inputs, ["y"], **attributes)],
        extra,
        [(n, TensorProto.FLOAT, SHAPE) for n in names],
        "y",
        TensorProto.FLOAT,
    )
    weights, step = dict(extra), np.float32(8 / 255)
    zero = np.uint8(round(4 / (8 / 255)))
    nodes, integers = [], {}
    for n in names:
        weights[f"{n}_scale"], weights[f"{n}_zero"] = np.asarray(step), np.asarray(zero)
        params = [n, f"{n}_scale", f"{n}_zero"]
        nodes.append(helper.make_node("DequantizeLinear", params, [f"{n}_dq"]))
        integers[n] = np.clip(np.rint(values[n] / step) + zero, 0, 255).astype(np.uint8)
    floats = {n: (integers[n].astype(np.float32) - zero) * step for n in names}
    session = opened(plain)
    wanted = np.asarray(session.run(None, floats)[0])
    # What moves values alone keeps their scale, as it does in a model: it is a copy of integers.
    low, high = (
        (-4.0, 4.0) if name in MOVES else (min(float(wanted.min()), 0.0), float(wanted.max()))
    )
    nodes.append(
        helper.make_node(
            op_type, [f"{t}_dq" if t in names else t for t in inputs], ["y"], **attributes
        )
    )
    after, _ = quantized("y", low, high, weights)
    ins = [(n, TensorProto.UINT8, SHAPE) for n in names]
    other = opened(model([*nodes, after[0]], weights, ins, "y_q", TensorProto.UINT8))
    found = np.asarray(other.run(None, integers)[0], np.float32)
    found = (found - np.float32(weights["y_zero"])) * weights["y_scale"]
    error = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
    fp32, int8 = timed([(session, floats), (other, integers)])
    return [name, f"{fp32:.0f}", f"{int8:.0f}", f"{fp32 / int8:.2f}", f"{error:.4f}"]


def silu_layers(integers: bool) -> bytes:
    """Four Convs in INT8, each with SiLU in floats or in INT8."""
    weights: Weights = {}
    nodes: Nodes = []
    made, tensor = quantized("x", -4, 4, weights)
    nodes += made
    for layer in range(4):
        kernel = RNG.normal(0, 0.06, (64, 64, 3, 3))
        w, c, s, m = f"w{layer}", f"c{layer}", f"s{layer}", f"m{layer}"
        step = np.abs(kernel).max() / 127
        weights[w] = np.rint(kernel / step).astype(np.int8)
        weights[f"{w}_scale"] = np.asarray(step, np.float32)
        weights[f"{w}_zero"] = np.asarray(0, np.int8)
        params = [w, f"{w}_scale", f"{w}_zero"]
        nodes.append(helper.make_node("DequantizeLinear", params, [f"{w}_dq"]))
        nodes.append(helper.make_node("Conv", [tensor, f"{w}_dq"], [c], pads=[1, 1, 1, 1]))
        made, tensor = quantized(c, -6, 6, weights)
        nodes += made
        nodes.append(helper.make_node("Sigmoid", [tensor], [s]))
        gate = s
        if integers:
            made, gate = quantized(s, 0, 1, weights)
            nodes += made
        nodes.append(helper.make_node("Mul", [tensor, gate], [m]))
        made, tensor = quantized(m, -0.3, 6, weights)
        nodes += made
    return model(nodes, weights, [("x", TensorProto.FLOAT, SHAPE)], tensor, TensorProto.FLOAT)


def products() -> list[list[str]]:
    """Rows of products with two activations, and with weights."""
    q, k = (RNG.normal(0, 1, s).astype(np.float32) for s in ((12, 128, 64), (12, 64, 128)))
    node = helper.make_node
    both = [("q", TensorProto.FLOAT, q.shape), ("k", TensorProto.FLOAT, k.shape)]
    plain = model([node("MatMul", ["q", "k"], ["y"])], {}, both, "y", TensorProto.FLOAT)
    weights: Weights = {}
    left, a = quantized("q", -4, 4, weights)
    right, b = quantized("k", -4, 4, weights)
    nodes = [*left, *right, node("MatMul", [a, b], ["y"])]
    static = model(nodes, weights, both, "y", TensorProto.FLOAT)
    feed = {"q": q, "k": k}
    fp32, int8 = timed([(opened(plain), feed), (opened(static), feed)])
    rows = [["QK: 12 x [128, 64] x [64, 128]", f"{fp32:.0f}", f"{int8:.0f}", "-"]]
    for rows_of, inner, outer in ((128, 384, 1536), (128, 1536, 384), (16, 384, 384)):
        x = RNG.normal(0, 1, (rows_of, inner)).astype(np.float32)
        w = RNG.normal(0, 0.05, (inner, outer)).astype(np.float32)
        step = np.abs(w).max(axis=0) / 127
        integer = np.rint(w / step).astype(np.int8)
        ins = [("x", TensorProto.FLOAT, x.shape)]
        plain = model([node("MatMul", ["x", "w"], ["y"])], {"w": w}, ins, "y", TensorProto.FLOAT)
        weights = {
            "w": integer,
            "w_scale": step.astype(np.float32),
            "w_zero": np.zeros(outer, np.int8),
        }
        before, a = quantized("x", -4, 4, weights)
        dequantize = node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_dq"], axis=1)
        nodes = [*before, dequantize, node("MatMul", [a, "w_dq"], ["y"])]
        static = model(nodes, weights, ins, "y", TensorProto.FLOAT)
        nodes = [
            node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
            node("MatMulInteger", ["xq", "w", "xz", "w_zero"], ["i"]),
            node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            node("Mul", ["xs", "w_scale"], ["s"]),
            node("Mul", ["f", "s"], ["y"]),
        ]
        dynamic = model(nodes, weights, ins, "y", TensorProto.FLOAT)
        times = timed([(opened(m), {"x": x}) for m in (plain, static, dynamic)])
        rows.append([f"[{rows_of}, {inner}] x [{inner}, {outer}]", *(f"{t:.0f}" for t in times)])
    return rows


def factors() -> list[list[str]]:
    """Rows of INT8 products, with and without a Mul by channel in front of them."""
    node, found = helper.make_node, []
    for rows_of, inner, outer in ((32, 384, 1536), (32, 1536, 384), (196, 3072, 768)):
        x = RNG.normal(0, 1, (rows_of, inner)).astype(np.float32)
        ins = [("x", TensorProto.FLOAT, x.shape)]
        models = []
        for source in ("x", "scaled"):
            weights: Weights = {
                "w": RNG.integers(-127, 128, (inner, outer)).astype(np.int8),
                "w_scale": np.full(outer, 4e-4, np.float32),
                "w_zero": np.zeros(outer, np.int8),
            }
            if source == "scaled":
                weights["factor"] = np.exp2(RNG.integers(-3, 4, inner)).astype(np.float32)
            before, a = quantized(source, -4, 4, weights)
            dequantize = node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_dq"], axis=1)
            scaled = [node("Mul", ["x", "factor"], ["scaled"])] if source == "scaled" else []
            nodes = [*scaled, *before, dequantize, node("MatMul", [a, "w_dq"], ["y"])]
            models.append(model(nodes, weights, ins, "y", TensorProto.FLOAT))
        times = timed([(opened(m), {"x": x}) for m in models])
        found.append([f"[{rows_of}, {inner}] x [{inner}, {outer}]", *(f"{t:.0f}" for t in times)])
    return found


def convolution() -> list[str]:
    """The row of a Conv: in floats, with a known range, and as ConvInteger."""
    x = RNG.normal(0, 1, SHAPE).astype(np.float32)
    kernel = RNG.normal(0, 0.06, (64, 64, 3, 3)).astype(np.float32)
    step = np.abs(kernel).max() / 127
    weights: Weights = {"w": np.rint(kernel / step).astype(np.int8)}
    weights |= {"w_scale": np.asarray(step, np.float32), "w_zero": np.asarray(0, np.int8)}
    ins, node, pads = [("x", TensorProto.FLOAT, SHAPE)], helper.make_node, [1, 1, 1, 1]
    nodes = [node("Conv", ["x", "w"], ["y"], pads=pads)]
    plain = model(nodes, {"w": kernel}, ins, "y", TensorProto.FLOAT)
    known = dict(weights)
    before, a = quantized("x", -4, 4, known)
    dequantize = node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_dq"])
    after, y = quantized("c", -6, 6, known)
    nodes = [*before, dequantize, node("Conv", [a, "w_dq"], ["c"], pads=pads), *after]
    static = model(nodes, known, ins, y, TensorProto.FLOAT)
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
        node("ConvInteger", ["xq", "w", "xz", "w_zero"], ["i"], pads=pads),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["xs", "w_scale"], ["s"]),
        node("Mul", ["f", "s"], ["y"]),
    ]
    dynamic = model(nodes, weights, ins, "y", TensorProto.FLOAT)
    times = timed([(opened(m), {"x": x}) for m in (plain, static, dynamic)])
    return ["Conv 3 x 3, 64 to 64 channels, 52 x 52", *(f"{t:.0f}" for t in times)]


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(r) + " |" for r in (heading, ["---"] * len(heading), *rows)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    heading = ("operator", "FP32, us", "INT8, us", "INT8 faster by", "error")
    lines = table(heading, [one(name) for name in operators()])
    x = RNG.normal(0, 1, SHAPE).astype(np.float32)
    floats, integers = timed([(opened(silu_layers(i)), {"x": x}) for i in (False, True)])
    lines += [
        "",
        f"Four layers of Conv and SiLU: SiLU in floats {floats:.0f} us, in INT8 {integers:.0f} us.",
        "",
    ]
    lines += table(
        ("product", "FP32, us", "INT8, us", "dynamic INT8, us"), [*products(), convolution()]
    )
    lines += ["", *table(("INT8 product", "alone, us", "with a Mul in front, us"), factors())]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text)


if __name__ == "__main__":
    main()
