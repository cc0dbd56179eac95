"""Names → strategies and backends, through entry points so that anyone can add their own.

A package that declares an entry point ``mine = "my_pkg:Mine"`` in ``precsearch.strategies`` makes
``--strategy mine`` work. What precsearch ships is listed here too, so that it also runs from a
source tree that is not installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from precsearch.core.backend import Backend, BackendOptions
from precsearch.core.errors import OptionError
from precsearch.core.options import constructed

if TYPE_CHECKING:
    from precsearch.core.strategy import Strategy

__all__ = [
    "BackendFactory",
    "backend_factory",
    "backend_names",
    "require_known",
    "strategy",
    "strategy_names",
]

_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
BackendFactory = Callable[[BackendOptions], Backend]
_STRATEGIES = {
    "auto": "precsearch_strategies.auto:Auto",
    "bisection": "precsearch_strategies.bisection:Bisection",
    "tpe": "precsearch_strategies.tpe:Tpe",
    "uniform": "precsearch_strategies.uniform:Uniform",
}
_BACKENDS = {
    "onnxruntime": "precsearch.backends.onnxruntime.backend:OnnxRuntimeBackend",
    "onnxruntime-cuda": "precsearch.backends.onnxruntime.cuda.backend:OnnxRuntimeCudaBackend",
    "openvino": "precsearch.backends.openvino.backend:OpenVinoBackend",
    "tensorrt": "precsearch.backends.tensorrt.backend:TensorRtBackend",
    "tensorrt-rtx": "precsearch.backends.tensorrt.rtx.backend:TensorRtRtxBackend",
}


def require_known(kind: str, name: str, known: Sequence[str]) -> None:
    """Raise `OptionError` if ``name`` is none of the ``known`` plug-ins of this kind."""
    if name not in known:
        raise OptionError(f"there is no {kind} {name!r}; use one of {', '.join(known)}")


def _known(group: str, shipped: dict[str, str]) -> dict[str, str]:
    entries = {e.name: e.value for e in entry_points(group=group)}
    return {**entries, **shipped}


def _load(kind: str, name: str, known: dict[str, str]) -> Any:  # noqa: ANN401 - a plug-in is anything
    require_known(kind, name, sorted(known))
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


def strategy(name: str, options: Mapping[str, str] = _NO_OPTIONS) -> Strategy:
    """A strategy.

    Args:
        name: Its name.
        options: Those that differ from its defaults, as text.

    Raises:
        OptionError: There is none of this name, it is no strategy, or it does not take an option.
    """
    from precsearch.core.strategy import Strategy  # late: whoever opens a model needs a backend

    loaded = _load("strategy", name, _known("precsearch.strategies", _STRATEGIES))
    created = constructed(loaded, options, f"the strategy {name!r}")
    if not isinstance(created, Strategy):
        raise OptionError(f"the strategy {name!r} has no method propose(problem)")
    return created


def backend_factory(name: str) -> BackendFactory:
    """What constructs a backend from its options.

    Raises:
        OptionError: There is none of this name.
    """
    loaded = _load("backend", name, _known("precsearch.backends", _BACKENDS))
    return cast(BackendFactory, loaded)
