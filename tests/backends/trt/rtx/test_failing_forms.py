"""Every form that the real builder refuses on the newest GPU: built in another form, or refused.

The forms are those of a table of 409 that NVIDIA's builder was asked for; a model is what a user
would have of each, and the precision what they would ask for. *Built*: what precsearch writes
instead builds. Otherwise the words of the refusal, which come before the builder is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from precsearch.backends.tensorrt.rtx.backend import TensorRtRtxBackend
from precsearch.calibration.ranges import run_feeds
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import BuildError, InputError, OptionError
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.setup.target import open_target
from tests.backends.trt.rtx.building import built, default_shapes
from tests.graph.small_graphs import GraphBuilder, conv

pytestmark = pytest.mark.rtx
FP32, BF16, FP16, INT8 = Precision.FP32, Precision.BF16, Precision.FP16, Precision.INT8
E4M3, E5M2 = ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2
CONV: dict[str, Any] = {"pads": [1, 1, 1, 1]}


@dataclass(frozen=True)
class Case:
    make: Callable[[GraphBuilder], str]
    asked: Precision = FP32
    opset: int = 22
    refused: str = ""


def operator(
    kind: str, *, shape: tuple[int, ...] = (2, 8, 8, 8), **attributes: Any
) -> Callable[[GraphBuilder], str]:
    return lambda b: b.op(kind, conv(b, b.input(list(shape)), 8, 8), **attributes)


def transposed(b: GraphBuilder) -> str:
    return b.op("ConvTranspose", conv(b, b.input([2, 8, 8, 8]), 8, 8), b.weight(8, 8, 2, 2))


def normed(b: GraphBuilder) -> str:
    x = b.op("MatMul", b.input([2, 8, 16]), b.weight(16, 16))
    return b.op("LayerNormalization", x, b.weight(16), b.weight(16), axis=-1)


def gru(b: GraphBuilder) -> str:
    x = b.op("Relu", b.input([4, 2, 8]))
    return b.op("GRU", x, b.weight(1, 24, 8), b.weight(1, 24, 8), hidden_size=8)


def attention(causal: int = 0) -> Callable[[GraphBuilder], str]:
    def make(b: GraphBuilder) -> str:
        q, k, v = (b.op("Relu", b.input([1, 4, 32, 32])) for _ in range(3))
        return b.op("Attention", q, k, v, is_causal=causal)

    return make


def qdq(b: GraphBuilder, x: str, scale: float = 0.05, zero: float = 0, dtype: Any = np.int8) -> str:
    args = b.const(scale), b.const(zero, dtype)
    return b.op("DequantizeLinear", b.op("QuantizeLinear", x, *args), *args)


def stored(
    b: GraphBuilder, shape: tuple[int, ...], dtype: Any, block: int = 0, axis: int = 0
) -> str:
    """A weight that its author has quantized."""
    values = b.const(b.rng.integers(-7, 8, shape), dtype)
    sizes = [n // block if block and i == axis else n for i, n in enumerate(shape)]
    attributes: dict[str, Any] = {"axis": axis, "block_size": block} if block else {}
    scale = b.const(np.full(sizes if block else (), 0.05))
    return b.op("DequantizeLinear", values, scale, **attributes)


def product(
    data: Callable[[GraphBuilder, str], str], weight: Any, **kwargs: Any
) -> Callable[[GraphBuilder], str]:
    return lambda b: b.op(
        "MatMul", data(b, b.input([4, 64])), stored(b, (64, 64), weight, **kwargs)
    )


def in_8_bits(**kwargs: Any) -> Callable[[GraphBuilder, str], str]:
    return lambda b, x: qdq(b, x, **kwargs)


def quantized_conv(b: GraphBuilder, bias: str, x: str) -> str:
    return b.op("Conv", x, stored(b, (16, 16, 3, 3), np.int8), bias, **CONV)


def int32_bias(b: GraphBuilder) -> str:
    steps, scale = b.const(np.ones(16), np.int32), b.const(np.full(16, 0.0025))
    bias = b.op("DequantizeLinear", steps, scale, b.const(np.zeros(16), np.int32), axis=0)
    return quantized_conv(b, bias, qdq(b, b.input([2, 16, 8, 8])))


def asymmetric(zero: float, dtype: Any) -> Callable[[GraphBuilder], str]:
    return lambda b: quantized_conv(
        b, b.weight(16), qdq(b, b.input([2, 16, 8, 8]), 0.05, zero, dtype)
    )


def without_zero_point(b: GraphBuilder) -> str:
    s = b.const(0.05)
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input([4, 64]), s), s)
    return b.op("MatMul", x, stored(b, (64, 64), np.int8))


def blocked_conv(b: GraphBuilder) -> str:
    weight = stored(b, (32, 32, 3, 3), ml_dtypes.int4, 16, 1)
    return b.op("Conv", b.input([2, 32, 8, 8]), weight)


def scaled_by_powers(b: GraphBuilder) -> str:
    values = b.const(b.rng.normal(size=(64, 64)), E4M3)
    scale = b.const(np.ones((2, 64)), ml_dtypes.float8_e8m0fnu)
    return b.op(
        "MatMul", b.input([4, 64]), b.op("DequantizeLinear", values, scale, axis=0, block_size=32)
    )


def integers(b: GraphBuilder) -> str:
    x = b.op("Cast", b.input([4, 8]), to=TensorProto.INT64)
    return b.op("Cast", b.op("MatMul", x, b.const(np.eye(8), np.int64)), to=TensorProto.FLOAT)


def mixed(op_type: str, slots: str) -> Callable[[GraphBuilder], str]:
    """Operands of unlike float types, which ONNX does not allow."""

    def make(b: GraphBuilder) -> str:
        x = b.input([8, 8] if op_type == "Gemm" else [2, 8, 8, 8])
        half = b.op("Cast", x, to=TensorProto.FLOAT16)
        other = {
            "Conv": b.weight(8, 8, 3, 3),
            "MatMul": b.weight(8, 8),
            "Gemm": b.weight(8, 8),
        }.get(op_type, x)
        if op_type == "Conv" and slots == "float first":
            return b.op("Conv", x, b.op("Cast", other, to=TensorProto.FLOAT16))
        args = [half, other] if slots == "half first" else [other, half]
        if op_type == "Where":
            args = [b.op("Greater", x, b.const(0.0)), *args]
        extra: dict[str, Any] = {"axis": 1} if op_type == "Concat" else {}
        return b.op(op_type, *args, **extra)

    return make


SYMMETRIC, POSITIVE = "quantization is symmetric there", "its scale must be positive"
NEITHER = "and not to"
CASES: dict[str, Case] = {
    "ConvTranspose in BF16": Case(transposed, BF16),
    "HardSwish in BF16": Case(operator("HardSwish"), BF16),
    "Mish in BF16": Case(operator("Mish"), BF16),
    "LpNormalization in BF16": Case(operator("LpNormalization"), BF16),
    "GRU in BF16": Case(gru, BF16),
    "LayerNormalization in BF16, its scale in FP32": Case(normed, BF16),
    "LayerNormalization in FP16, its scale in FP32": Case(normed, FP16),
    "Attention in FP32": Case(
        attention(), opset=23, refused="no kernel for the operator Attention"
    ),
    "Attention in FP32, operator set 24": Case(attention(), opset=24, refused="no kernel for the"),
    "Attention in FP32, causal": Case(attention(1), opset=23, refused="no kernel for the"),
    "operator set 6": Case(lambda b: b.op("Relu", b.input([2, 8])), opset=6),
    "INT8 Conv in FP16, its bias in FP32": Case(operator("Relu"), INT8),
    "INT8 Conv, its bias an INT32 with a scale": Case(int32_bias, refused="bias stays in floats"),
    "INT8 with zero point 3": Case(asymmetric(3, np.int8), refused=SYMMETRIC),
    "UINT8 with zero point 128": Case(asymmetric(128, np.uint8), refused=NEITHER),
    "a scale of 0": Case(product(in_8_bits(scale=0.0), np.int8), refused=POSITIVE),
    "a negative scale": Case(product(in_8_bits(scale=-0.1), np.int8), refused=POSITIVE),
    "INT16": Case(product(in_8_bits(dtype=np.int16), np.int8), refused=NEITHER),
    "FP8 data by an INT8 weight": Case(product(in_8_bits(dtype=E4M3), np.int8), refused="by int8"),
    "INT8 data by an FP8 weight": Case(product(in_8_bits(), E4M3), refused="int8 by float8e4m3"),
    "FP8 in E5M2": Case(product(in_8_bits(dtype=E5M2), E5M2), refused=NEITHER),
    "FP8 data by an INT4 weight": Case(
        product(in_8_bits(dtype=E4M3), ml_dtypes.int4, block=32), refused="by int4"
    ),
    "an INT4 Conv in blocks of channels": Case(blocked_conv, refused="not along axis 1"),
    "MXFP8, its scales in E8M0": Case(scaled_by_powers, opset=24, refused="not of float8e8m0"),
    "a MatMul of INT64": Case(integers, refused="no matrices of integers"),
    "UINT4": Case(product(lambda b, x: x, ml_dtypes.uint4, block=32), refused=NEITHER),
}
"""UINT8 with zero point 0, and Q without a zero point, are taken and computed as INT8."""
SILENT = {
    "UINT8 with zero point 0": Case(asymmetric(0, np.uint8), refused=NEITHER),
    "Q without a zero point": Case(without_zero_point, refused=NEITHER),
}


def lowered(case: Case, folder: Path) -> bytes:
    """What precsearch makes of it, the precision wherever it is offered."""
    b = GraphBuilder(case.opset)
    out = case.make(b)
    b.outputs.append(onnx.helper.make_tensor_value_info(out, TensorProto.FLOAT, None))
    graph = onnx.helper.make_graph(b.nodes, "g", b.inputs, b.outputs, b.constants)
    opsets = [onnx.helper.make_opsetid("", case.opset)]
    path = folder / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    offered = tuple({FP32, FP16, INT8, BF16})
    target = open_target(
        read_model(path), "tensorrt-rtx", offered, "group", 1, build={"target": "sm120"}
    )
    tensors = frozenset().union(*quantizable(target.graph, target.scheme, target.space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-4.0, 4.0)), target.scheme)
    lowering = Lowering(target.graph, target.space, target.scheme, scales, target.form)
    return lowering.lower(target.space.uniform(case.asked)).model


def make(model: bytes) -> bytes:
    options = BackendOptions(shapes=tuple(default_shapes(model)), build={"target": "sm120"})
    return TensorRtRtxBackend(options).build(model)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_form_that_the_builder_refuses_is_avoided_or_refused_earlier(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    if not case.refused:
        assert len(make(lowered(case, tmp_path))) > 1000
        return
    with pytest.raises(InputError, match=case.refused):
        make(lowered(case, tmp_path))


def mixed_types() -> list[tuple[str, str]]:
    kinds = ("Add", "Mul", "Max", "MatMul", "Concat", "Conv", "Gemm", "Where")
    return [(kind, slots) for kind in kinds for slots in ("half first", "float first")]


@pytest.mark.parametrize(("kind", "slots"), mixed_types())
def test_operands_of_unlike_types_are_refused_as_invalid_onnx(
    kind: str, slots: str, tmp_path: Path
) -> None:
    """By the reference, which a search opens before anything is built."""
    model = lowered(Case(mixed(kind, slots)), tmp_path)
    feed = {"in0": np.zeros((8, 8) if kind == "Gemm" else (2, 8, 8, 8), np.float32)}
    with pytest.raises(InputError, match=r"[Tt]ype"):
        list(run_feeds(model, "", [feed]))
    with pytest.raises(BuildError, match=r"must have same|must all be of the same|same type"):
        built(model, "SM120")


@pytest.mark.parametrize("name", sorted(n for n, c in CASES.items() if c.refused))
def test_the_builder_refuses_operands_of_unlike_types_too(name: str, tmp_path: Path) -> None:
    """Should a version take one of these, the refusal has become needless."""
    model = lowered(CASES[name], tmp_path)
    with pytest.raises(BuildError):
        built(model, "SM120")


@pytest.mark.parametrize("name", sorted(SILENT))
def test_unsigned_integers_are_refused_since_the_builder_takes_them_for_signed_ones(
    name: str, tmp_path: Path
) -> None:
    model = lowered(SILENT[name], tmp_path)
    with pytest.raises(OptionError, match="not to uint8"):
        make(model)
    assert built(model, "SM120").layers
