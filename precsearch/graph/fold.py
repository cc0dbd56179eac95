"""Constant factors that are folded into weights while a model is prepared."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

__all__ = ["add_initializer", "constant", "fold_gemm_factors"]


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer, ``None`` for everything else."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy())


def add_initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """A new FP32 initializer of ``graph``."""
    value = ir.Value(name=name, const_value=ir.Tensor(array.astype(np.float32), name=name))
    value.shape = ir.Shape(array.shape)
    value.dtype = ir.DataType.FLOAT
    graph.register_initializer(value)
    return value


def fold_gemm_factors(graph: ir.Graph) -> None:
    """Multiply alpha and beta of every Gemm into its constant weight and bias.

    No integer kernel knows such factors, and TensorRT's parser makes FP32 constants of them, which
    a strongly typed FP16 graph cannot multiply with.
    """
    for gemm in graph:
        if gemm.domain in ("", "ai.onnx") and gemm.op_type == "Gemm":
            _fold(graph, gemm, "alpha", 1, "weight")
            _fold(graph, gemm, "beta", 2, "bias")


def _fold(graph: ir.Graph, gemm: ir.Node, factor: str, slot: int, name: str) -> None:
    attribute = gemm.attributes.get(factor)
    if attribute is None or attribute.as_float() == 1.0:
        return
    array = constant(gemm.inputs[slot]) if len(gemm.inputs) > slot else None
    if array is not None and array.dtype == np.float32:
        scaled = array * np.float32(attribute.as_float())
        folded = add_initializer(graph, f"{gemm.outputs[0].name}//{name}", scaled)
        gemm.replace_input_with(slot, folded)
        del gemm.attributes[factor]
    elif len(gemm.inputs) <= slot or gemm.inputs[slot] is None:
        del gemm.attributes[factor]  # there is no bias that it could scale
