"""A wrong engine as a folder that anyone can attach to a bug report."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import OutputError
from precsearch.graph.reading.read import SourceModel
from precsearch.replay.weights import write_model
from precsearch.setup.files import write_bytes, write_text

__all__ = ["Miscompiled", "write_reproducer"]


@dataclass(frozen=True)
class Miscompiled:
    """What was found.

    Attributes:
        tensor: The first tensor that differs.
        node, op_type: What writes it.
        difference: Its relative L2.
        builds: Engines built to find it.
        shrunk: Engines built to make the reproducer small.
        nodes: Keys of the nodes of the reproducer.
        model: The reproducer, serialized.
        inputs, expected, got: Its inputs, the reference's outputs, and the engine's.
        not_built: Engines of a part of the model that did not build or run, on the way to it.
        before: Nodes before it that therefore could not be told right from wrong.
    """

    tensor: str
    node: str
    op_type: str
    difference: float
    builds: int
    shrunk: int
    nodes: tuple[str, ...]
    model: bytes
    inputs: dict[str, Array]
    expected: dict[str, Array]
    got: dict[str, Array]
    not_built: int = 0
    before: int = 0


_SCRIPT = """\
import os, sys
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.path = [p for p in sys.path if p != os.path.dirname(__file__)]  # nothing here is a module
import numpy as np, onnxruntime as ort
inputs, got = dict(np.load("inputs.npz")), dict(np.load("got.npz"))
expected = ort.InferenceSession("model.onnx").run(None, inputs)[0]
off = np.linalg.norm(got["{tensor}"] - expected) / np.linalg.norm(expected)
print("the engine of {backend} is off by", off)  # and live: {live}
"""


def write_reproducer(
    miscompiled: Miscompiled, backend: str, folder: Path, source: SourceModel
) -> None:
    """``model.onnx``, ``inputs.npz``, ``expected.npz``, ``got.npz`` and ``run.py``, a few lines.

    Args:
        miscompiled: What to reproduce.
        backend: Name of the engine.
        folder: Made if it is not there.
        source: The model that it is a part of.

    Raises:
        OutputError: Something cannot be written.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {str(folder)!r} cannot be made: {error.strerror}; name another with "
            "--reproducer"
        ) from error
    write_model(source, folder / "model.onnx", miscompiled.model)
    for name, arrays in (
        ("inputs", miscompiled.inputs),
        ("expected", miscompiled.expected),
        ("got", miscompiled.got),
    ):
        _write_arrays(folder / f"{name}.npz", arrays)
    live = "polygraphy run model.onnx --trt --onnxrt --load-inputs inputs.npz"
    script = _SCRIPT.format(tensor=miscompiled.tensor, backend=backend, live=live)
    write_text(folder / "run.py", script)


def _write_arrays(path: Path, arrays: dict[str, Array]) -> None:
    stream = io.BytesIO()
    write: Callable[..., None] = np.savez
    write(stream, **arrays)
    write_bytes(path, stream.getvalue())
