"""Operators one by one, and layers of Conv and SiLU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from benchmarks.integer_operators.small_models import (
    RNG,
    SHAPE,
    Nodes,
    Weights,
    model,
    opened,
    quantized,
    timed,
)

MOVES = ("Concat", "MaxPool", "Resize", "Where", "Transpose")


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
