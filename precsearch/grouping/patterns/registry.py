"""Fused patterns, recognized by structure alone: what an engine computes in one kernel.

Names are never looked at: exporters choose them freely. A new pattern is a file with a matcher and
a row of `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from precsearch.graph.view import GraphView, NodeView
from precsearch.grouping.patterns.activations import Activations
from precsearch.grouping.patterns.attention import Attention
from precsearch.grouping.patterns.epilogue import Chains
from precsearch.grouping.patterns.kinds import KINDS
from precsearch.grouping.patterns.lookup import Pattern
from precsearch.grouping.patterns.norms import Norms

__all__ = ["RULES", "Pattern", "PatternRule", "find_patterns"]

Matcher = Callable[[NodeView], Pattern | None]
"""A node that a pattern starts from → the pattern, or nothing."""


@dataclass(frozen=True, slots=True)
class PatternRule:
    """One pattern.

    Attributes:
        name: For people.
        anchors: Operators that it starts from.
        matcher: Looks it up in a graph.
    """

    name: str
    anchors: tuple[str, ...]
    matcher: Callable[[GraphView], Matcher]


RULES: tuple[PatternRule, ...] = (
    PatternRule("attention", ("Softmax",), lambda graph: Attention(graph).attention),
    PatternRule("norm", ("Sqrt", "Pow"), lambda graph: Norms(graph).norm),
    PatternRule("GELU", ("Erf", "Tanh"), lambda graph: Activations(graph).gelu),
    PatternRule("SiLU", ("Sigmoid", "HardSigmoid"), lambda graph: Activations(graph).silu),
    PatternRule("chain", (*KINDS, "Add"), lambda graph: Chains(graph).chain),
)
"""Tried in this order, the most particular first; a node belongs to one pattern."""


def find_patterns(graph: GraphView) -> list[Pattern]:
    """Every pattern of more than one node, disjoint, in the order of `RULES`."""
    taken: set[int] = set()
    patterns: list[Pattern] = []
    for rule in RULES:
        match = rule.matcher(graph)
        for node in graph.nodes:
            if node.index in taken or not node.is_op(*rule.anchors):
                continue
            pattern = match(node)
            if pattern is not None and len(pattern.nodes) > 1 and taken.isdisjoint(pattern.nodes):
                taken.update(pattern.nodes)
                patterns.append(pattern)
    return patterns
