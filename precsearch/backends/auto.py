"""Which backend this machine has."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Callable, Container
from dataclasses import dataclass

from precsearch.registry import backend_names, require_known

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


def _cuda_devices() -> int:
    """How many the driver lets this process see; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def auto_backend(
    names: Container[str] | None = None,
    importable: Callable[[str], bool] = _importable,
    cuda_devices: Callable[[], int] = _cuda_devices,
) -> AutoBackend:
    """The first of TensorRT and ONNX Runtime that this machine has.

    A TensorRT that is installed and does not load is chosen all the same: its error says what is
    missing, where a slower engine in its place would say nothing.

    Args:
        names: Backends that there are; ``None`` is `backend_names`.
        importable: Whether a module is installed.
        cuda_devices: How many GPUs there are.
    """
    if "tensorrt" not in (backend_names() if names is None else names):
        return AutoBackend("onnxruntime", "this version has no other")
    if not importable("tensorrt"):
        return AutoBackend("onnxruntime", "TensorRT is not installed")
    if cuda_devices() < 1:
        return AutoBackend("onnxruntime", "there is no CUDA device")
    return AutoBackend("tensorrt", "TensorRT is installed and there is a CUDA device")


def backend_name(asked: str) -> str:
    """The backend that is meant: ``auto`` is the one that this machine has, others are themselves.

    Raises:
        OptionError: There is none of this name.
    """
    names = backend_names()
    require_known("backend", asked, (AUTO, *names))
    return auto_backend(names).name if asked == AUTO else asked
