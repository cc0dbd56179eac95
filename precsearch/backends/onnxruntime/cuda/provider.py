"""ONNX Runtime's CUDA provider: whether it is here, and sessions that truly run on it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from precsearch.backends.onnxruntime.fusion_faults import faulty_fusion
from precsearch.core.errors import BuildError, DeviceLost, OptionError, OutOfMemory, RunError
from precsearch.reference.session import first_line, ort_errors, session_options

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = [
    "CUDA",
    "Provider",
    "SessionRequest",
    "build_error",
    "load_cuda",
    "open_session",
    "run_error",
]

_NAME = "CUDAExecutionProvider"
_INSTALL = (
    "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'precsearch[cuda]' and "
    "pip install --force-reinstall --no-deps onnxruntime-gpu"
)
_MEMORY = ("Failed to allocate memory", "out of memory", "CUDNN_STATUS_ALLOC_FAILED")
_ERRORS = 3
"""Level of ONNX Runtime's own messages: each session warns of a plug-in that is not there."""
_LOST = re.compile(r"\bCUDA (?:failure|error) (?:700|702|709|71[04-9])\b")
"""Errors of a kernel after which CUDA refuses all later calls of the process (``cuda.h``: illegal
address, timeout, destroyed context, assert, hardware, illegal instruction, misaligned address,
address space, program counter, launch failure)."""
_LOCK = threading.Lock()
_LOADED: list[bool] = []


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider, and where it keeps tensors.

    Attributes:
        name: As ONNX Runtime calls it.
        memory: What ONNX Runtime calls its memory: ``cuda``, ``cpu``.
    """

    name: str
    memory: str


CUDA = Provider(_NAME, "cuda")


def load_cuda() -> None:
    """Load what the CUDA provider needs, once a process.

    Libraries that were installed as packages (``nvidia-*``) are found without LD_LIBRARY_PATH.

    Raises:
        OptionError: This ONNX Runtime has no CUDA provider.
    """
    import onnxruntime as ort

    if _NAME not in ort.get_available_providers():
        raise OptionError(
            f"the installed ONNX Runtime {ort.__version__} has no CUDA provider: {_INSTALL}"
        )
    with _LOCK:
        if not _LOADED:
            _LOADED.append(True)
            ort.set_default_logger_severity(_ERRORS)
            preload: Callable[[], None] | None = getattr(ort, "preload_dlls", None)
            if preload is not None:
                # It prints what it does not find. Where something is missing, no session opens on
                # the provider, and that is said.
                with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                    preload()


@dataclass(frozen=True)
class SessionRequest:
    """A session to open.

    Attributes:
        model: A serialized ``ModelProto``.
        options: Of the provider.
        model_folder: Folder of external weights, "" if there are none.
        profile: Beginning of the path of a profile; ``None`` for no profile.
        optimized: Where the optimized model is written; ``None`` for nowhere.
    """

    model: bytes
    options: Mapping[str, str] = field(default_factory=dict)
    model_folder: str = ""
    profile: Path | None = None
    optimized: Path | None = None


def open_session(
    request: SessionRequest, provider: Provider = CUDA
) -> tuple[ort.InferenceSession, tuple[str, ...]]:
    """A session on the provider, with the CPU's for what the provider cannot run.

    Returns:
        The session, and the names of optimizers of ONNX Runtime that it was opened without,
        because they fail on the model; see `precsearch.backends.onnxruntime.fusion_faults`.

    Raises:
        OptionError: The provider does not load here. ONNX Runtime would go on without it.
        Exception: One of `precsearch.reference.session.ort_errors`, if the model is refused.
    """
    import onnxruntime as ort

    session, left_out = _tried(request, provider, ())
    if provider.name not in session.get_providers():
        raise OptionError(
            f"ONNX Runtime {ort.__version__} cannot load its CUDA provider: it needs the CUDA "
            "libraries and cuDNN of the version that it was built for ('pip install "
            "onnxruntime-gpu[cuda,cudnn]' brings them)"
        )
    return session, left_out


def _tried(
    request: SessionRequest, provider: Provider, left_out: tuple[str, ...]
) -> tuple[ort.InferenceSession, tuple[str, ...]]:
    try:
        return _opened(request, provider, left_out), left_out
    except ort_errors() as error:
        faulty = tuple(n for n in faulty_fusion(str(error)) if n not in left_out)
        if not faulty:
            raise
    return _tried(request, provider, (*left_out, *faulty))


def _opened(
    request: SessionRequest, provider: Provider, left_out: tuple[str, ...]
) -> ort.InferenceSession:
    import onnxruntime as ort

    options = session_options(len(os.sched_getaffinity(0)), request.model_folder)
    if request.profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(request.profile)
    if request.optimized is not None:
        options.optimized_model_filepath = str(request.optimized)
    providers: list[Any] = ["CPUExecutionProvider"]
    if provider.memory != "cpu":
        providers.insert(0, (provider.name, dict(request.options)))
    return ort.InferenceSession(
        request.model,
        options,
        providers,
        # With it an error would open the session again, on the CPU.
        enable_fallback=0,
        disabled_optimizers=set(left_out),
    )


def build_error(error: Exception) -> BuildError | OutOfMemory:
    """What a session that does not open means."""
    return OutOfMemory(first_line(error)) if _memory(error) else BuildError(first_line(error))


def run_error(error: Exception) -> RunError | OutOfMemory:
    """What a run that fails means."""
    if _LOST.search(str(error)):
        return DeviceLost(first_line(error))
    return OutOfMemory(first_line(error)) if _memory(error) else RunError(first_line(error))


def _memory(error: Exception) -> bool:
    return any(words in str(error) for words in _MEMORY)
