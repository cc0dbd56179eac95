"""The core of an attention: two products with a softmax between them."""

from __future__ import annotations

from precsearch.graph.attention import attention_core
from precsearch.graph.view import NodeView
from precsearch.grouping.patterns.lookup import Lookup, Pattern

__all__ = ["Attention"]


class Attention(Lookup):
    """Starts from the softmax."""

    def attention(self, softmax: NodeView) -> Pattern | None:
        """Product, scale, mask, softmax and second product, with what reshapes in between."""
        core = attention_core(softmax, self.graph)
        return None if core is None else Pattern("attention", core.nodes)
