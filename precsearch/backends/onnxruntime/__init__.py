"""The ONNX Runtime backend."""

from precsearch.backends.onnxruntime.backend import (
    OnnxRuntimeBackend,
    OnnxRuntimeSession,
    cpu_features,
    physical_cores,
    scheme,
)

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeSession", "cpu_features", "physical_cores", "scheme"]
