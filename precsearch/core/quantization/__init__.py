"""How a backend wants a graph written: where Q/DQ stands, and what says that a node is FP16."""

from precsearch.core.quantization.form import TYPED, TYPED_HALF, WEAK, GraphForm
from precsearch.core.quantization.operators import (
    FusedAttention,
    OperatorFormats,
    PerAxis,
    PerBlock,
    PerTensor,
    TensorFormat,
    Trait,
    operator_formats,
)
from precsearch.core.quantization.scheme import QuantScheme, Quirk

__all__ = [
    "TYPED",
    "TYPED_HALF",
    "WEAK",
    "FusedAttention",
    "GraphForm",
    "OperatorFormats",
    "PerAxis",
    "PerBlock",
    "PerTensor",
    "QuantScheme",
    "Quirk",
    "TensorFormat",
    "Trait",
    "operator_formats",
]
