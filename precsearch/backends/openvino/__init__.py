"""The OpenVINO backend."""

from precsearch.backends.openvino.backend import OpenVinoBackend

__all__ = ["OpenVinoBackend"]
