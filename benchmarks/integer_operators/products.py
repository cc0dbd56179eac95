"""Products and convolutions with ranges that are known, or those of each inference."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from benchmarks.integer_operators.small_models import (
    RNG,
    SHAPE,
    Weights,
    model,
    opened,
    quantized,
    timed,
)


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
