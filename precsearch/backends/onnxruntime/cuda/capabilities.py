"""What ONNX Runtime's CUDA provider builds in which float format."""

from __future__ import annotations

from precsearch.core.formats import BFLOAT16, FLOAT16
from precsearch.core.quantization import GraphForm, QuantScheme

__all__ = ["FIRST_BF16", "TYPED_CUDA", "WITHOUT_QDQ"]

FIRST_BF16 = (8, 0)
"""Compute capability from which the provider's BF16 kernels run."""

_NO_BF16 = (
    *("ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Ceil", "Celu", "Clip", "Conv"),
    *("ConvTranspose", "Cos", "CumSum", "DepthToSpace", "Det", "Einsum", "Elu", "Floor", "GRU"),
    *("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample", "GroupNormalization"),
    *("HardSigmoid", "HardSwish", "Hardmax", "InstanceNormalization", "LRN", "LSTM", "LeakyRelu"),
    *("Log", "LogSoftmax", "LpNormalization", "LpPool", "MaxPool", "MaxUnpool", "Mean"),
    *("MeanVarianceNormalization", "Mish", "OneHot", "PRelu", "Pad", "RNN", "Reciprocal"),
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMin"),
    *("ReduceProd", "ReduceSumSquare", "Resize", "RoiAlign", "Round", "Selu", "Shrink", "Sin"),
    *("Softplus", "Softsign", "SpaceToDepth", "ThresholdedRelu", "TopK", "Trilu", "Upsample"),
)
"""Operators without a BF16 kernel in operator sets up to 21, after the list of kernels that comes
with ONNX Runtime's source. Some would be written out as a function of other operators, which then
fails: a BF16 Clip becomes a Where that its operator set does not have."""

_NO_FP16 = ("GridSample", "RoiAlign")

TYPED_CUDA = GraphForm(
    "typed-cuda",
    13,
    lacks=frozenset(
        {*((op, BFLOAT16.name) for op in _NO_BF16), *((op, FLOAT16.name) for op in _NO_FP16)}
    ),
)
"""Casts say everything. The table is fixed, so that a plan gives the same bytes without a GPU."""

WITHOUT_QDQ = QuantScheme("ort-cuda", {})
"""The provider computes Q/DQ in float, so nothing is quantized."""
