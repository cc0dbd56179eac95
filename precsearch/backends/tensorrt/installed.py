"""TensorRT and CUDA, loaded once a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

from precsearch.backends.tensorrt.capabilities import Caps, probe
from precsearch.backends.tensorrt.logger import Lines, make_logger
from precsearch.backends.tensorrt.runtime.cuda import Cuda
from precsearch.core.errors import BuildError, OptionError

__all__ = ["Installed", "loaded"]


class Installed:
    """TensorRT, loaded once a process, and CUDA, as soon as something needs it.

    Args:
        load: Imports TensorRT's Python module.

    Raises:
        OptionError: It is not installed, does not load here, or can be told neither types nor
            precisions.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self.trt: Any = load()
        self.caps: Caps = probe(self.trt)
        self.lines = Lines()
        self.logger = make_logger(self.trt, self.lines)
        if not (self.caps.typed or self.caps.weak):
            raise OptionError(
                f"TensorRT {self.caps.version} can neither be told types nor precisions; install "
                "another version"
            )

    def deserialized(self, artifact: bytes) -> Any:  # noqa: ANN401 - the bindings have no types
        """An engine from its bytes.

        Raises:
            BuildError: TensorRT does not start, or does not take the engine.
        """
        try:
            runtime = self.trt.Runtime(self.logger)
        except TypeError as error:  # from pybind11: what TensorRT gave was null
            raise BuildError(f"TensorRT cannot start: {'; '.join(self.lines.errors)}") from error
        engine = runtime.deserialize_cuda_engine(artifact)
        if engine is None:
            said = "; ".join(self.lines.errors[-2:]) or "it does not say why"
            raise BuildError(f"TensorRT does not take the engine: {said}")
        return engine

    @cached_property
    def cuda(self) -> Cuda:
        """The CUDA runtime.

        Raises:
            OptionError: cuda-bindings is not installed, or does not load.
        """
        return Cuda()


_LOCK = threading.Lock()
_LOADED: dict[str, Installed] = {}


def loaded(name: str, load: Callable[[], Any]) -> Installed:
    """What a backend of this name shares with the others of its process.

    Raises:
        OptionError: See `Installed`.
    """
    with _LOCK:
        if name not in _LOADED:
            _LOADED[name] = Installed(load)
        return _LOADED[name]
