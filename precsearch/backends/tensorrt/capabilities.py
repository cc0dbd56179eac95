"""What an installed TensorRT can do: probed by what it has, never by its version.

TensorRT 11 took the precision flags and the precision of layers away, 10 brought networks that are
typed by the graph alone. A missing name must choose another way or raise: skipping a request builds
an FP32 engine in silence.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from precsearch.core.errors import OptionError

__all__ = ["Caps", "import_tensorrt", "probe"]


@dataclass(frozen=True, slots=True)
class Caps:
    """What one TensorRT has.

    Attributes:
        version: As it says itself; recorded, never compared.
        typed: Builds networks that are typed by their graph alone.
        weak: Takes precision flags and a precision per layer.
        explicit_batch: Wants to be told that the batch is a dimension like any other.
        editable_cache: Its timing cache can be read key by key, and so replayed.
        targets: Builds for compute capabilities that it is told, without a GPU; it then chooses no
            kernel by timing, and its timing cache does nothing.
    """

    version: str
    typed: bool
    weak: bool
    explicit_batch: bool
    editable_cache: bool
    targets: bool = False


def probe(trt: Any) -> Caps:  # noqa: ANN401 - TensorRT's bindings have no types
    """What ``trt``, the module, can do."""
    flags, network = trt.BuilderFlag, trt.NetworkDefinitionCreationFlag
    weak = hasattr(flags, "FP16") and hasattr(trt.ILayer, "precision")
    targets = hasattr(trt, "ComputeCapability")
    return Caps(
        version=str(trt.__version__),
        typed=hasattr(network, "STRONGLY_TYPED"),
        weak=weak,
        explicit_batch=hasattr(network, "EXPLICIT_BATCH"),
        editable_cache=hasattr(flags, "EDITABLE_TIMING_CACHE")
        and hasattr(trt.ITimingCache, "queryKeys")
        and not targets,
        targets=targets,
    )


def import_tensorrt() -> Any:  # noqa: ANN401
    """The module ``tensorrt``.

    Raises:
        OptionError: It is not installed, or does not load here.
    """
    _find_cuda_runtime()
    try:
        return importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise OptionError(
            "the tensorrt backend needs TensorRT: pip install 'precsearch[tensorrt]'"
        ) from error
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise OptionError(
            f"TensorRT is installed but does not load ({reason}); 'precsearch doctor' shows what "
            "is missing"
        ) from error


def _find_cuda_runtime() -> None:
    """Let Polygraphy find the CUDA runtime of the CUDA 13 wheels, which lies in a folder it misses.

    Polygraphy looks through LD_LIBRARY_PATH when it first needs CUDA, and not before.
    """
    for entry in map(Path, sys.path):
        folder = entry / "nvidia/cu13/lib"
        known = os.environ.get("LD_LIBRARY_PATH", "")
        if folder.is_dir() and str(folder) not in known.split(os.pathsep):
            os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [known, str(folder)]))
