"""`inspect`: what precsearch sees in a model, without running it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precsearch.api.setup import open_target
from precsearch.data import input_specs
from precsearch.onnxio.read import read_model
from precsearch.registry import backend_name
from precsearch.space import Precision, SearchSpace

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """A model and its groups.

    Attributes:
        model: File name.
        sha256: Of the file and its external weights, as hex.
        opset: Of the default operators, as in the file.
        nodes: Of the prepared main graph.
        weights_bytes: Of its constants.
        inputs, outputs: A description each.
        space: The groups.
    """

    model: str
    sha256: str
    opset: int
    nodes: int
    weights_bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    space: SearchSpace


def inspect(
    model: str | Path,
    *,
    backend: str = "auto",
    precisions: tuple[Precision, ...] | None = None,
    granularity: str = "group",
) -> Inspection:
    """Read, prepare and group a model.

    Raises:
        InputError: The model cannot be read, or an option is wrong.
    """
    source = read_model(Path(model))
    target = open_target(source, backend_name(backend), precisions, granularity, 0)
    graph = target.graph
    return Inspection(
        model=source.path.name,
        sha256=source.digest,
        opset=source.opset,
        nodes=len(graph.nodes),
        weights_bytes=int(sum(w.size * w.tensor.dtype.itemsize for w in graph.weights.values())),
        inputs=tuple(str(s) for s in input_specs(graph.inputs)),
        outputs=tuple(o.name for o in graph.outputs),
        space=target.space,
    )
