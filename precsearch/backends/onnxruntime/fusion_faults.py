"""Faults of ONNX Runtime's own fusions around mixed types, and how an engine opens all the same.

ONNX Runtime fuses a decomposed LayerNorm without a look at the types of its parts. Where half of
it is FP16, the fused node has inputs of two types and the session does not open ("Type parameter
(T) of Optype (LayerNormalization) bound to different types", seen with 1.31.1 on a GPU; on a CPU
FP16 nodes have FP32 inputs by then). Norms that precsearch recognizes are one node before a search
begins (``fuse-layernorm``); for others the fusion is left out.
"""

from __future__ import annotations

import re

__all__ = ["FUSION_FAULT", "faulty_fusion"]

_TYPES_DIFFER = re.compile(
    r"Type parameter \(\w+\) of Optype \(\w+\) bound to different types.*/(\w+Fusion)/"
)
_LAYER_NORM = ("LayerNormFusion", "LayerNormFusionL1", "LayerNormFusionL2")
_SIMPLIFIED = ("SimplifiedLayerNormFusion",)
_OPTIMIZERS = {
    # What the first leaves out, the second takes for a norm without a mean.
    "LayerNormFusion": _LAYER_NORM + _SIMPLIFIED,
    "SimplifiedLayerNormFusion": _SIMPLIFIED,
    "SkipLayerNormFusion": ("SkipLayerNormFusion", "BiasSkipLayerNormFusion"),
    "EmbedLayerNormFusion": ("EmbedLayerNormFusion",),
}
"""End of the name of a fused node → names of optimizers; newer versions have one for each level."""

FUSION_FAULT = (
    "ONNX Runtime's fusion of layer norms fails on this model's mixed types, so the engine was "
    "opened without it; load it with disabled_optimizers={names!r}"
)


def faulty_fusion(message: str) -> tuple[str, ...]:
    """The optimizers to leave out, none if the message is about something else.

    Args:
        message: Of the error that ONNX Runtime raised when the session was opened.
    """
    match = _TYPES_DIFFER.search(message)
    return _OPTIMIZERS.get(match[1], ()) if match is not None else ()
