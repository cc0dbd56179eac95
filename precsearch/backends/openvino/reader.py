"""From the bytes of a lowered ONNX model to an ``openvino.Model``."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from precsearch.backends.openvino.artifact import NodeLink
from precsearch.backends.openvino.runtime import error_line, openvino_core, openvino_errors
from precsearch.core.errors import BuildError

__all__ = ["OnnxOutline", "read_onnx"]

_WORKING_DIRECTORY = threading.Lock()

_EMPTY_PRODUCER = b"\x12\x00"
"""``ModelProto.producer_name``, field 2, as the empty string: what a model without it means too."""


class OnnxOutline:
    """Names in an ONNX model, in its own order.

    Args:
        model: The serialized ``ModelProto``.

    Raises:
        BuildError: It is none.
    """

    def __init__(self, model: bytes) -> None:
        try:
            proto = onnx.ModelProto.FromString(model)
        except DecodeError as error:
            raise BuildError("these are not the bytes of an ONNX model") from error
        graph = proto.graph
        self.opsets = len(proto.opset_import)
        constants = {t.name for t in graph.initializer}
        self.inputs = tuple(i.name for i in graph.input if i.name not in constants)
        self.outputs = tuple(o.name for o in graph.output)
        self.nodes = tuple(NodeLink(n.name, tuple(n.input), tuple(n.output)) for n in graph.node)


def read_onnx(
    model: bytes,
    outline: OnnxOutline,
    folder: str,
    shapes: Sequence[Mapping[str, tuple[int, ...]]],
) -> Any:  # noqa: ANN401 - OpenVINO's bindings have no types
    """The model, of the one set of input shapes that it is for, with names that do not vary.

    OpenVINO names the operations that it adds by a count of all operations of the process. They
    are renamed after their place in the model, so that equal models are equal everywhere.

    Args:
        model: The serialized ``ModelProto``.
        outline: Its names.
        folder: Where its external weights are, "" without.
        shapes: Sets of input shapes that will be run. With several the model stays dynamic.

    Raises:
        BuildError: OpenVINO refuses the model, or does not keep its inputs and outputs.
    """
    core = openvino_core()
    try:
        with _working_directory(folder):  # OpenVINO reads external weights relative to it
            network = core.read_model(io.BytesIO(_recognizable(model, outline)))
        if (len(network.inputs), len(network.outputs)) != (
            len(outline.inputs),
            len(outline.outputs),
        ):
            raise BuildError("OpenVINO reads the model with other inputs or outputs than it has")
        if len(shapes) == 1:
            network.reshape(_by_port(network, outline, shapes[0]))
        for position, node in enumerate(network.get_ordered_ops()):
            if node.get_friendly_name() == node.get_name():
                node.set_friendly_name(f"{node.get_type_name()}#{position}")
    except openvino_errors() as error:
        raise BuildError(error_line(error)) from error
    return network


def _recognizable(model: bytes, outline: OnnxOutline) -> bytes:
    """The model in bytes that OpenVINO takes for ONNX.

    OpenVINO 2026.4 looks at the start of a file until it has seen three different fields of
    ``ModelProto``, and takes a file in which a field comes again before that for no ONNX ("Unable
    to read the model"). The lowering writes all operator sets before the graph, and Protocol
    Buffers allows any order, so that a second operator set would be the third field.
    """
    return _EMPTY_PRODUCER + model if outline.opsets > 1 else model


def _by_port(
    model: Any,  # noqa: ANN401
    outline: OnnxOutline,
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[Any, list[int]]:
    named = zip(outline.inputs, model.inputs, strict=True)
    return {port: list(shapes[name]) for name, port in named if name in shapes}


@contextlib.contextmanager
def _working_directory(folder: str) -> Iterator[None]:
    """``folder`` as the working directory, one thread at a time; "" leaves it."""
    if not folder:
        yield
        return
    with _WORKING_DIRECTORY:
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
