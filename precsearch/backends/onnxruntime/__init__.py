"""The ONNX Runtime backend."""

from precsearch.backends.onnxruntime.backend import (
    OnnxRuntimeBackend,
    OnnxRuntimeSession,
    scheme,
)

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeSession", "scheme"]
