"""What is known of an engine beyond its bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from precsearch.backends.tensorrt.inspector import EngineLayer

__all__ = ["EngineNotes"]


@dataclass
class EngineNotes:
    """What a build told of an engine, and what was seen when it was opened.

    Attributes:
        nodes: Names of the nodes of its model.
        warnings: What there is to say of it, a sentence each.
        layers: What it is made of, empty until somebody looked.
        fused: Attention cores that one kernel computes, of all.
    """

    nodes: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    layers: tuple[EngineLayer, ...] = ()
    fused: tuple[int, int] = (0, 0)

    def packed(self) -> bytes:
        """What another process needs of them; layers can be looked at there."""
        return json.dumps({"nodes": self.nodes, "warnings": self.warnings}).encode()

    @staticmethod
    def unpacked(packed: bytes) -> EngineNotes:
        """What `packed` gave."""
        known = json.loads(packed)
        return EngineNotes(tuple(known["nodes"]), list(known["warnings"]))
