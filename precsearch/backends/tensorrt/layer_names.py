"""Which ONNX node each layer of a TensorRT network comes from.

Anchored on tensors: the parser gives the tensor that a node writes its ONNX name. Layers that it
adds on the way to one belong to the same node, unless their metadata names another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx

__all__ = ["layer_nodes", "layers", "metadata_nodes", "node_outputs"]

_METADATA = re.compile(r"\[ONNX Layer: (.*?)(?: \| [^\[\]]*)?\]")


def node_outputs(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor → name of the node of the main graph that writes it."""
    return {tensor: n.name for n in model.graph.node for tensor in n.output if tensor}


def metadata_nodes(text: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """The node names in a layer's metadata, ``[ONNX Layer: a][ONNX Layer: b | note]``.

    Args:
        text: The metadata, at most 4,000 characters of it.
        names: If given, only these are returned.
    """
    nodes = dict.fromkeys(m.group(1) for m in _METADATA.finditer(text))
    known = frozenset(names)
    return tuple(n for n in nodes if not known or n in known)


def layers(network: Any) -> Iterator[Any]:  # noqa: ANN401 - TensorRT's bindings have no types
    """The layers of a network, in order."""
    return (network.get_layer(i) for i in range(network.num_layers))


def layer_nodes(network: Any, written: Mapping[str, str]) -> list[tuple[Any, str]]:  # noqa: ANN401
    """Each layer with the name of its node, "" if it has none.

    Args:
        network: Parsed.
        written: Tensor → name of the node that writes it, see `node_outputs`.
    """
    names = frozenset(written.values())
    rows: list[tuple[Any, str]] = []
    pending: list[int] = []
    for layer in layers(network):
        tensors = (layer.get_output(i) for i in range(layer.num_outputs))
        anchored = next(
            (written[t.name] for t in tensors if t is not None and t.name in written), ""
        )
        nodes = metadata_nodes(layer.metadata, names)
        node = (
            anchored or (nodes[0] if nodes else "") or (layer.name if layer.name in names else "")
        )
        if not node:
            pending.append(len(rows))
        elif anchored:
            for position in pending:
                rows[position] = (rows[position][0], anchored)
            pending.clear()
        rows.append((layer, node))
    return rows
