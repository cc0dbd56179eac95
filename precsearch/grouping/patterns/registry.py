"""Fused patterns, recognised by structure alone: what an engine computes in one kernel.

Each matcher starts from one node and answers with the nodes of the pattern, or nothing. Names are
never looked at: exporters choose them freely.
"""

from __future__ import annotations

from precsearch.graph.view import GraphView
from precsearch.grouping.patterns.epilogue import Chains
from precsearch.grouping.patterns.kinds import KINDS
from precsearch.grouping.patterns.lookup import Composites, Pattern

__all__ = ["Pattern", "find_patterns"]


def find_patterns(graph: GraphView) -> list[Pattern]:
    """Every pattern of more than one node, disjoint, those that are most particular first."""
    finder = Composites(graph)
    chains = Chains(graph)
    taken: set[int] = set()
    found: list[Pattern] = []
    matchers = (
        (("Softmax",), finder.attention),
        (("Sqrt", "Pow"), finder.norm),
        (("Erf", "Tanh"), finder.gelu),
        (("Sigmoid", "HardSigmoid"), finder.silu),
        ((*KINDS, "Add"), chains.chain),
    )
    for anchors, matcher in matchers:
        for node in graph.nodes:
            if node.index in taken or not node.is_op(*anchors):
                continue
            pattern = matcher(node)
            if pattern is not None and len(pattern.nodes) > 1 and taken.isdisjoint(pattern.nodes):
                taken.update(pattern.nodes)
                found.append(pattern)
    return found
