"""Which backend this machine has."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from precsearch.registry import backend_names, require_known
from precsearch.system.cuda_driver import cuda_devices

__all__ = ["AUTO", "AutoBackend", "auto_backend", "backend_name"]

AUTO = "auto"
"""Asks for the backend that `auto_backend` finds."""


@dataclass(frozen=True, slots=True)
class AutoBackend:
    """What ``--backend auto`` takes here.

    Attributes:
        name: The backend.
        reason: Why, as half a sentence.
    """

    name: str
    reason: str


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _has_cuda_provider() -> bool:
    """Whether the installed ONNX Runtime comes with its CUDA provider; loads nothing."""
    try:
        module = importlib.util.find_spec("onnxruntime")
    except (ImportError, ValueError):
        return False
    if module is None or module.origin is None:
        return False
    return any((Path(module.origin).parent / "capi").glob("*onnxruntime_providers_cuda.*"))


def auto_backend(
    names: Container[str] | None = None,
    importable: Callable[[str], bool] = _importable,
    cuda_devices: Callable[[], int] = cuda_devices,
    has_cuda_provider: Callable[[], bool] = _has_cuda_provider,
) -> AutoBackend:
    """The first of TensorRT, ONNX Runtime on a GPU and ONNX Runtime on the CPU that is here.

    An engine that is installed and does not load is chosen all the same: its error says what is
    missing, where a slower engine in its place would say nothing.

    Args:
        names: Backends that there are; ``None`` is `backend_names`.
        importable: Whether a module is installed.
        cuda_devices: How many GPUs there are.
        has_cuda_provider: Whether ONNX Runtime was built for GPUs.
    """
    names = backend_names() if names is None else names
    tensorrt = "tensorrt" in names and importable("tensorrt")
    cuda = "onnxruntime-cuda" in names and has_cuda_provider()
    if not (tensorrt or cuda):
        return AutoBackend("onnxruntime", _without(names))
    if cuda_devices() < 1:
        return AutoBackend("onnxruntime", "there is no CUDA device")
    if tensorrt:
        return AutoBackend("tensorrt", "TensorRT is installed and there is a CUDA device")
    return AutoBackend(
        "onnxruntime-cuda",
        "ONNX Runtime has its CUDA provider, there is a CUDA device, and no TensorRT",
    )


def _without(names: Container[str]) -> str:
    if "tensorrt" not in names:
        return "this version has no other"
    if "onnxruntime-cuda" not in names:
        return "TensorRT is not installed"
    return "neither TensorRT nor ONNX Runtime's CUDA provider is installed"


def backend_name(asked: str) -> str:
    """The backend that is meant: ``auto`` is the one that this machine has, others are themselves.

    Raises:
        OptionError: There is none of this name.
    """
    names = backend_names()
    require_known("backend", asked, (AUTO, *names))
    return auto_backend(names).name if asked == AUTO else asked
