"""In which precision each product of a model runs in a built engine, by the engine's layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import onnx

from precsearch.backends.tensorrt.inspector import EngineLayer
from precsearch.core.precision import Precision
from precsearch.graph.operators import PRODUCTS

__all__ = ["products_ran"]

_GENERATED = "kgen"
_FLOATS = frozenset({"float", "half", "bfloat16"})


def products_ran(
    model: onnx.ModelProto, layers: Iterable[EngineLayer]
) -> Mapping[str, Precision | None]:
    """Name of each product of ``model`` → what the engine computes it in.

    Where kernels of several kinds carry a product's name, generated pointwise code before and after
    the product does not count. Of several products of one node (a weight that the builder has
    sliced, say) the most precise counts. ``None``: the layer does not tell, or no member of
    `Precision` stands for it. A product that no layer names is left out: the builder has folded it
    into others, or does not say where it went.

    Args:
        model: The lowered model that the engine was built from.
        layers: Of the engine.
    """
    names = {n.name for n in model.graph.node if n.op_type in PRODUCTS}
    found: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for node in layer.nodes:
            if node in names:
                found.setdefault(node, []).append(layer)
    return {name: _ran(found[name], names) for name in sorted(found)}


def _ran(layers: list[EngineLayer], names: Collection[str]) -> Precision | None:
    products = [x for x in layers if x.kind != _GENERATED]
    precisions = [x.precision for x in products] or [_generated(x, names) for x in layers]
    known = [p for p in precisions if p is not None]
    return min(known, key=lambda p: p.rank) if len(known) == len(precisions) else None


def _generated(layer: EngineLayer, names: Collection[str]) -> Precision | None:
    """What generated code computes a product in, if it has no other product in another type."""
    alone = sum(node in names for node in layer.nodes) == 1
    mixed = len({*layer.inputs, *layer.constants} & _FLOATS) > 1
    return layer.precision if alone or not mixed else None
