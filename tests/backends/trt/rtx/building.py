"""One real builder for the process, and what it makes of a lowered model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import onnx

from precsearch.backends.tensorrt.achieved import products_ran
from precsearch.backends.tensorrt.building.builder import Built, EngineBuilder
from precsearch.backends.tensorrt.capabilities import probe
from precsearch.backends.tensorrt.inspector import EngineLayer
from precsearch.backends.tensorrt.logger import Lines, make_logger
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.backends.tensorrt.rtx.bindings import import_rtx
from precsearch.core.precision import Precision
from precsearch.graph.operators import PRODUCTS

TARGETS = ("SM80", "SM89", "SM120")
Shapes = Mapping[str, tuple[int, ...]]


@cache
def _builder(target: str) -> EngineBuilder:
    trt, lines, logger = _loaded()
    return EngineBuilder(
        trt, probe(trt), TensorRtOptions(), logger, lines, weak=False, target=target
    )


@cache
def _loaded() -> tuple[object, Lines, object]:
    trt, lines = import_rtx(), Lines()
    return trt, lines, make_logger(trt, lines)


def built(model: bytes, target: str, shapes: Sequence[Shapes] = ()) -> Built:
    """The engine of a lowered model; its layers must have been listed.

    Raises:
        BuildError: The model is refused.
    """
    made = _builder(target).build(model, "", shapes or default_shapes(model))
    assert made.layers, "the builder's log has no layers: has their description changed?"
    return made


def default_shapes(model: bytes) -> list[Shapes]:
    """Batches of 1, 2 and 4 where the first dimension is open."""
    inputs = onnx.load_model_from_string(model).graph.input
    return [
        {
            value.name: tuple(d.dim_value or n for d in value.type.tensor_type.shape.dim)
            for value in inputs
        }
        for n in (1, 2, 4)
    ]


def told(layer: EngineLayer) -> str:
    """``gemm(int8; float int8 > half)``: types of data, constants and results."""
    parts = (layer.inputs, layer.constants, layer.outputs)
    data, constants, results = (" ".join(sorted(set(types))) for types in parts)
    return f"{layer.kind}({data}; {constants} > {results})"


def disobeyed(
    model: bytes, made: Built, asked: Mapping[str, Precision]
) -> list[tuple[str, str, str, str]]:
    """Name, operator, precision asked for, layers: the products that run in something else.

    A product that the builder has written into one kernel with what surrounds it may show no type
    of its own, and is left out.
    """
    proto = onnx.load_model_from_string(model)
    ran = products_ran([n.name for n in proto.graph.node if n.op_type in PRODUCTS], made.layers)
    found = []
    for node in proto.graph.node:
        if node.op_type not in PRODUCTS or node.name not in ran:
            continue
        wanted = asked.get(node.name, Precision.FP32)
        layers = [layer for layer in made.layers if node.name in layer.nodes]
        generated = {layer.kind for layer in layers} <= {"kgen", "runtime_fusion"}
        if ran[node.name] is not wanted and not (ran[node.name] is None and generated):
            lines = " + ".join(map(told, layers))
            found.append((node.name, node.op_type, str(wanted), lines))
    return found
