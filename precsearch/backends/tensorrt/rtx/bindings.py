"""Finding TensorRT-RTX: its Python bindings, and the two libraries that they are linked to.

The package ``tensorrt_rtx`` brings both. The bare bindings (``tensorrt_rtx_bindings``) bring no
library: where the dynamic loader does not find one by itself, the copies that the ONNX Runtime
package ``onnxruntime_ep_nv_tensorrt_rtx`` ships are opened by their full names first, and the
loader then has them by soname when the bindings ask. No environment variable is needed.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from precsearch.core.errors import OptionError

__all__ = ["import_rtx", "installed"]

_FULL, _BARE = "tensorrt_rtx", "tensorrt_rtx_bindings"
_LIBRARIES = "onnxruntime_ep_nv_tensorrt_rtx"
_SONAMES = ("libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so")


def installed() -> bool:
    """Whether Python finds bindings of TensorRT-RTX; nothing is loaded."""
    return any(importlib.util.find_spec(name) is not None for name in (_FULL, _BARE))


def import_rtx() -> Any:  # noqa: ANN401 - TensorRT's bindings have no types
    """The module ``tensorrt_rtx``, or the bare bindings in its place.

    Raises:
        OptionError: Neither is installed, or neither loads on this machine.
    """
    if not installed():
        raise OptionError(
            "the tensorrt-rtx backend needs TensorRT-RTX: pip install 'precsearch[tensorrt-rtx]'"
        )
    reasons: list[str] = []
    for name in (_FULL, _BARE):
        if importlib.util.find_spec(name) is None:
            continue
        try:
            if name == _BARE:
                _open_libraries(_folders())
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(" ".join(str(error).split()))
    raise OptionError(
        f"TensorRT-RTX is installed but does not load ({'; '.join(reasons)}); it needs Linux or "
        "Windows on x86-64, CPython 3.10 to 3.13 and both of its libraries: reinstall "
        "'precsearch[tensorrt-rtx]'"
    )


def _folders() -> Iterable[Path]:
    """Folders of installed packages that may hold the libraries."""
    for name in (_BARE, _LIBRARIES):
        module = importlib.util.find_spec(name)
        yield from map(Path, (module.submodule_search_locations or ()) if module else ())


def _open_libraries(folders: Iterable[Path]) -> None:
    """Open each library from the first folder that has it, the newest copy of a folder.

    Raises:
        OSError: A library was found and does not load.
    """
    missing = list(_SONAMES)
    for folder in folders:
        for name in tuple(missing):
            copies = sorted(folder.glob(f"{name}*"))
            if copies:
                ctypes.CDLL(str(copies[-1]), mode=ctypes.RTLD_GLOBAL)
                missing.remove(name)
