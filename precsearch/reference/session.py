"""ONNX Runtime sessions on the CPU provider, and what they may raise."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime as ort
from collections.abc import Iterable

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import ModelError
from precsearch.reference.side_by_side import run_in_order

__all__ = ["first_line", "open_reference", "ort_errors", "reference_outputs", "session_options"]

_FOLDER_KEY = "session.model_external_initializers_file_folder_path"


def ort_errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: a dozen unrelated types of its binding, and Python's own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ["EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel"]
    names += ["NoSuchFile", "NotImplemented", "RuntimeException"]
    classes = [getattr(state, n) for n in names if hasattr(state, n)]
    return (*classes, RuntimeError, ValueError, TypeError)


_NOISE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : (\w+ : )?(Load model from .* failed: ?)?")
_SOURCE = re.compile(r"^/\S+:\d+ [^()]*\([^()]*\)( const)? ")
_UNKNOWN_OP = re.compile(r"([\w.]*):(\w+)\(-?\d+\) is not a registered function/op")


def first_line(error: Exception) -> str:
    """The message without ONNX Runtime's prefix, on one line."""
    text = _SOURCE.sub("", _NOISE.sub("", str(error).strip()))
    unknown = _UNKNOWN_OP.search(text)
    if unknown is not None:
        domain, op_type = unknown.groups()
        return (
            f"it has no operator {op_type!r} of domain {domain!r}; export the model with standard "
            "operators, or with a model-local function of that name"
        )
    return (text.splitlines() or [type(error).__name__])[0][:400]


def session_options(threads: int, model_folder: str = "") -> ort.SessionOptions:
    """Options that every session here shares.

    Spinning thread pools of several sessions in one process steal each other's cores: three
    sessions ran four times slower and varied by 70 %.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if model_folder:
        options.add_session_config_entry(_FOLDER_KEY, model_folder)
    return options


def open_reference(model: bytes | str, model_folder: str = "") -> ort.InferenceSession:
    """A session with basic optimizations only, which change no numerics worth speaking of.

    Args:
        model: A serialized ``ModelProto``, or the path of one.
        model_folder: Folder of external weights, where ``model`` is bytes.

    Raises:
        Exception: One of `ort_errors`, if ONNX Runtime refuses the model.
    """
    import onnxruntime as ort

    options = session_options(len(os.sched_getaffinity(0)), model_folder)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # Statistics look at many tensors: free each as soon as its readers are done.
    options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
    options.enable_mem_pattern = False
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def reference_outputs(
    model: bytes | str, feeds: Iterable[Feed], model_folder: str = ""
) -> tuple[dict[str, Array], ...]:
    """Every output of the original model, one dictionary a feed.

    Args:
        model: A serialized ``ModelProto``, or the path of one.
        feeds: Input name → array.
        model_folder: Folder of external weights, where ``model`` is bytes.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed.
    """
    errors = ort_errors()
    try:
        session = open_reference(model, model_folder)
    except errors as error:
        line = first_line(error)
        if "; " not in line:
            line = f"{line.rstrip('.')}; export a model that ONNX Runtime opens"
        raise ModelError(f"ONNX Runtime refuses the model: {line}") from error
    names = [o.name for o in session.get_outputs()]
    outputs: list[dict[str, Array]] = []
    try:
        ran = run_in_order(session, model, feeds, names)
        outputs.extend(dict(zip(names, values, strict=True)) for values in ran)
    except errors as error:
        line = first_line(error)
        raise ModelError(f"the model does not run on the data given: {line}") from error
    return tuple(outputs)
