"""What ONNX Runtime's CUDA provider builds in which float format."""

from __future__ import annotations

from precsearch.core.formats import BFLOAT16
from precsearch.core.quantization import GraphForm, QuantScheme
from precsearch.graph.operators import CONVOLUTIONS

__all__ = ["FIRST_BF16", "FIRST_TF32", "TYPED_CUDA", "WITHOUT_QDQ"]

FIRST_BF16 = (8, 0)
"""Compute capability from which the provider's BF16 kernels run."""
FIRST_TF32 = (8, 0)
"""Compute capability from which tensor cores multiply FP32 in TF32."""

_NO_BF16 = (
    *(*CONVOLUTIONS, "AveragePool", "BatchNormalization", "GRU", "GlobalAveragePool"),
    *("GlobalMaxPool", "InstanceNormalization", "LSTM", "LpNormalization", "LpPool", "MaxPool"),
    *("RNN", "Resize", "Upsample"),
)

TYPED_CUDA = GraphForm(
    "typed-cuda", 13, lacks=frozenset((op_type, BFLOAT16.name) for op_type in _NO_BF16)
)
"""Casts say everything. The table is fixed, so that a plan gives the same bytes without a GPU."""

WITHOUT_QDQ = QuantScheme("ort-cuda", {})
"""The provider computes Q/DQ in float, so nothing is quantized."""
