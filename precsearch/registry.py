"""Names → strategies and backends, through entry points so that anyone can add their own.

A package that declares an entry point ``mine = "my_pkg:Mine"`` in ``precsearch.strategies`` makes
``--strategy mine`` work. What precsearch ships is listed here too, so that it also runs from a
source tree that is not installed.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, cast

from precsearch.backend import Backend, BackendOptions
from precsearch.errors import OptionError
from precsearch.strategy import Strategy

__all__ = [
    "AUTO",
    "AutoBackend",
    "BackendFactory",
    "auto_backend",
    "backend_factory",
    "backend_name",
    "backend_names",
    "strategy",
    "strategy_names",
]

BackendFactory = Callable[[BackendOptions], Backend]

AUTO = "auto"
"""Asks for the backend that `auto_backend` finds."""

_STRATEGIES = {
    "auto": "precsearch_strategies.auto:Auto",
    "bisection": "precsearch_strategies.bisection:Bisection",
    "tpe": "precsearch_strategies.tpe:Tpe",
    "uniform": "precsearch_strategies.uniform:Uniform",
}
_BACKENDS = {
    "onnxruntime": "precsearch.backends.onnxruntime:OnnxRuntimeBackend",
    "tensorrt": "precsearch.backends.tensorrt.backend:TensorRtBackend",
}


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
    _require("backend", asked, (AUTO, *names))
    return auto_backend(names).name if asked == AUTO else asked


def _require(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise OptionError(f"there is no {kind} {name!r}; use one of {', '.join(known)}")


def _known(group: str, shipped: dict[str, str]) -> dict[str, str]:
    found = {e.name: e.value for e in entry_points(group=group)}
    return {**found, **shipped}


def _load(kind: str, name: str, known: dict[str, str]) -> Any:  # noqa: ANN401 - a plug-in is anything
    _require(kind, name, sorted(known))
    module, _, attribute = known[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"the {kind} {name!r} cannot be loaded: {error}") from error


def strategy_names() -> tuple[str, ...]:
    """The strategies that can be asked for, sorted."""
    return tuple(sorted(_known("precsearch.strategies", _STRATEGIES)))


def backend_names() -> tuple[str, ...]:
    """The backends that can be asked for, sorted."""
    return tuple(sorted(_known("precsearch.backends", _BACKENDS)))


def strategy(name: str) -> Strategy:
    """A strategy with its default options.

    Raises:
        OptionError: There is none of this name, or it is no strategy.
    """
    made = _load("strategy", name, _known("precsearch.strategies", _STRATEGIES))()
    if not isinstance(made, Strategy):
        raise OptionError(f"the strategy {name!r} has no method propose(problem)")
    return made


def backend_factory(name: str) -> BackendFactory:
    """What constructs a backend from its options.

    Raises:
        OptionError: There is none of this name.
    """
    loaded = _load("backend", name, _known("precsearch.backends", _BACKENDS))
    return cast(BackendFactory, loaded)
