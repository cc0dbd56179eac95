"""Models that come quantized: what a user should know of the author's Q/DQ."""

from __future__ import annotations

from precsearch.formatting import many
from precsearch.graph.operators import PRODUCTS
from precsearch.graph.view import GraphView
from precsearch.lowering.capabilities import already_quantized

__all__ = ["products_kept", "qdq_note"]


def products_kept(graph: GraphView) -> tuple[int, int]:
    """How many products of a model keep the author's Q/DQ around them, and how many there are."""
    products = [n for n in graph.nodes if n.is_op(*PRODUCTS)]
    return sum(already_quantized(n, graph) for n in products), len(products)


def qdq_note(kept: int, products: int) -> str:
    """What a search does with them, a sentence; "" without any."""
    if not kept:
        return ""
    some = f"{kept} of {many(products, 'product')} {'stands' if kept == 1 else 'stand'}"
    return (
        f"{some} between the author's Q/DQ, which stay whatever is chosen; optimize --lift makes "
        "INT8 a choice"
    )
