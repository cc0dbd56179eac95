"""An engine as bytes: what OpenVINO exports, and what it does not say of the model before it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from precsearch.core.errors import BuildError

__all__ = ["EngineArtifact", "NodeLink"]

_MAGIC = b"precsearch-openvino-1\n"


@dataclass(frozen=True, slots=True)
class NodeLink:
    """A node of the lowered model.

    Attributes:
        name: Its name.
        inputs, outputs: Its tensors.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineArtifact:
    """A compiled model and the names that belong to it.

    Attributes:
        inputs: Names of the ONNX inputs, in the order of the compiled model's.
        outputs: Names of the ONNX outputs, in the order of the compiled model's.
        nodes: The nodes of the lowered model, in graph order.
        blob: What ``CompiledModel.export_model`` gave.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[NodeLink, ...]
    blob: bytes

    def to_bytes(self) -> bytes:
        """A line of JSON before the blob."""
        nodes = [[n.name, list(n.inputs), list(n.outputs)] for n in self.nodes]
        head = {"inputs": list(self.inputs), "outputs": list(self.outputs), "nodes": nodes}
        return _MAGIC + json.dumps(head).encode() + b"\n" + self.blob

    @classmethod
    def of(cls, artifact: bytes) -> EngineArtifact:
        """Taken apart again.

        Raises:
            BuildError: These are not the bytes of an engine of this backend.
        """
        if not artifact.startswith(_MAGIC):
            raise BuildError("this is not an engine that precsearch made with OpenVINO")
        end = artifact.find(b"\n", len(_MAGIC))
        try:
            head = json.loads(artifact[len(_MAGIC) : end])
            nodes = tuple(NodeLink(n, tuple(i), tuple(o)) for n, i, o in head["nodes"])
            inputs, outputs = tuple(head["inputs"]), tuple(head["outputs"])
        except (ValueError, KeyError, TypeError) as error:
            raise BuildError(f"the engine's description cannot be read: {error}") from error
        return cls(inputs, outputs, nodes, artifact[end + 1 :])
