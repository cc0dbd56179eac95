"""One-time preparation of a model: what every lowered model of it has in common.

Deterministic and exact in FP32 but for the folding of constant factors: local functions are
inlined, the operator set is raised to what Q/DQ per channel needs, Constant nodes and nodes that
read constants alone become initializers, Einsum becomes MatMul where it is one, BatchNormalization
is folded into the Conv before it, alpha and beta of a Gemm into its weight and bias, documentation
strings and inferred shapes are dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from precsearch.core.errors import ModelError
from precsearch.graph.fold import add_initializer, constant, fold_gemm_factors
from precsearch.graph.folding.constants import fold_constants
from precsearch.graph.folding.einsum import rewrite_einsums
from precsearch.graph.folding.inlining import inlined
from precsearch.graph.infer_types import complete_types
from precsearch.graph.inference import infer
from precsearch.graph.opset import raise_opset, with_dense_weights
from precsearch.graph.reading.read import SourceModel
from precsearch.graph.reading.validate import check_names, check_nodes, is_sorted
from precsearch.graph.view import GraphView, NodeView, Weight

__all__ = ["MIN_OPSET", "prepare"]

MIN_OPSET = 13
"""Quantization per channel needs QuantizeLinear-13."""

_MIN_IR = 7
"""What came with that operator set; before 4, every constant had to be an input as well."""


def prepare(source: SourceModel, min_opset: int = MIN_OPSET) -> GraphView:
    """The graph that groups and lowerings are made from.

    Args:
        source: The model as read.
        min_opset: Raise the default operator set to this where it is lower.

    Raises:
        ModelError: The graph is malformed or cannot be raised to ``min_opset``.
    """
    check_nodes(source.proto.graph, source.opset)
    check_names(source.proto.graph, "//")
    with _quiet():
        try:
            proto = _in_one_form(source, min_opset)
            model = _model(proto, str(source.folder))
            return _view(model, proto.graph)
        except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
            raise ModelError(
                f"the graph of {source.path.name!r} is malformed ({error}); check it with "
                "onnx.checker and export it again"
            ) from error


def _in_one_form(source: SourceModel, min_opset: int) -> onnx.ModelProto:
    proto = with_dense_weights(source.proto)
    if proto.functions:
        proto = inlined(proto)
        check_nodes(proto.graph, source.opset)
        check_names(proto.graph, "//")
    if source.opset < min_opset:
        proto = raise_opset(proto, min_opset, str(source.folder))
    return proto


@contextmanager
def _quiet() -> Iterator[None]:
    """onnx_ir logs whole tracebacks of what we say in a sentence, or can do without."""
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _model(proto: onnx.ModelProto, folder: str) -> ir.Model:
    model = ir.from_proto(proto)
    if not is_sorted(proto.graph):
        model.graph.sort()
    for value in [v for v in model.graph.inputs if v.name in model.graph.initializers]:
        model.graph.inputs.remove(value)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _set_base(model, folder)
    fold_constants(model.graph)
    if rewrite_einsums(model.graph):
        fold_constants(model.graph)
    _fold_batch_norms(model.graph)
    fold_gemm_factors(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    return model


def _set_base(model: ir.Model, folder: str) -> None:
    ir.external_data.set_base_dir(model.graph, folder)


def _fold_batch_norms(graph: ir.Graph) -> None:
    """Fold inference BatchNormalization into the Conv whose only reader it is."""
    for norm in list(graph):
        if norm.domain not in ("", "ai.onnx") or norm.op_type != "BatchNormalization":
            continue
        conv = norm.inputs[0].producer() if norm.inputs[0] is not None else None
        if conv is None or conv.op_type != "Conv" or conv.domain not in ("", "ai.onnx"):
            continue
        between = conv.outputs[0]
        if len(between.uses()) == 1 and not between.is_graph_output():
            _fold_one(graph, conv, norm)


def _fold_one(graph: ir.Graph, conv: ir.Node, norm: ir.Node) -> None:
    if any(len(o.uses()) or o.is_graph_output() for o in norm.outputs[1:]):
        return
    weight = constant(conv.inputs[1])
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    bias = constant(conv.inputs[2]) if has_bias else None
    moments = [constant(v) for v in norm.inputs[1:5]]
    training = norm.attributes.get("training_mode")
    if (
        weight is None
        or (has_bias and bias is None)
        or any(m is None or m.dtype != np.float32 for m in moments)
        or weight.dtype != np.float32
        or (training is not None and training.as_int())
    ):
        return
    gamma, beta, mean, variance = (m for m in moments if m is not None)
    epsilon = norm.attributes.get("epsilon")
    eps = np.float32(epsilon.as_float() if epsilon is not None else 1e-5)
    # + - x / sqrt on IEEE types alone, so that the folded weights are the same bytes everywhere.
    factor = gamma / np.sqrt(variance + eps)
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    shift = (bias if bias is not None else np.zeros_like(mean)) - mean
    out = norm.outputs[0]
    new = [
        add_initializer(graph, f"{out.name}//weight", folded),
        add_initializer(graph, f"{out.name}//bias", shift * factor + beta),
    ]
    merged = ir.Node("", "Conv", [conv.inputs[0], *new], list(conv.attributes.values()))
    graph.insert_before(norm, merged)
    _take_over(graph, merged.outputs[0], out)
    graph.remove([norm, conv], safe=True)


def _take_over(graph: ir.Graph, new: ir.Value, old: ir.Value) -> None:
    """Let ``new`` stand wherever ``old`` stood, under its name."""
    name, new.shape, new.type = old.name, old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name = f"{name}//replaced"
    new.name = name


def _view(model: ir.Model, declared: onnx.GraphProto) -> GraphView:
    graph = model.graph
    used = {v for n in graph.all_nodes() for v in n.inputs if v is not None} | set(graph.outputs)
    weights = {
        name: _weight(name, value)
        for name, value in graph.initializers.items()
        if value in used and value.const_value is not None
    }
    inputs = {v.name for v in graph.inputs}
    nodes = tuple(_node(i, node) for i, node in enumerate(graph))
    elem_types, shapes = infer(model, (n.proto for n in nodes))
    complete_types(nodes, elem_types, graph.opset_imports.get("", 1))
    return GraphView(
        nodes=nodes,
        weights=weights,
        inputs=tuple(_declared(v) for v in declared.input if v.name in inputs),
        outputs=tuple(_declared(v) for v in declared.output),
        elem_types=elem_types,
        shapes=shapes,
        opsets={d or "": v for d, v in sorted(graph.opset_imports.items())},
        ir_version=max(model.ir_version, _MIN_IR),
        functions=tuple(ir.serde.serialize_function(f) for f in model.functions.values()),
        name=graph.name or "graph",
    )


def _declared(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """As the model's author wrote it: what shape inference adds depends on onnx's version."""
    return onnx.ValueInfoProto(name=value.name, type=value.type)


def _weight(name: str, value: ir.Value) -> Weight:
    tensor = value.const_value
    assert tensor is not None  # the caller asked
    shape = tuple(d for d in tensor.shape if isinstance(d, int))
    return Weight(name, int(tensor.dtype), shape, tensor)


def _captured(node: ir.Node) -> frozenset[str]:
    """Tensors of the main graph that the node's subgraphs use."""
    captured: set[str] = set()
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs = [attribute.as_graph()]
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs = list(attribute.as_graphs())
        else:
            continue
        for sub in graphs:
            inner = list(ir.traversal.RecursiveGraphIterator(sub))
            used = [v for n in inner for v in n.inputs if v is not None] + list(sub.outputs)
            captured |= {v.name or "" for v in used if v.graph is node.graph}
    return frozenset(captured - {""})


def _node(index: int, node: ir.Node) -> NodeView:
    outputs = tuple(o.name or "" for o in node.outputs)
    key = next((o for o in outputs if o), f"node {index}")
    node.name = key
    node.doc_string = None
    node.metadata_props.clear()
    domain = "" if node.domain == "ai.onnx" else node.domain
    return NodeView(
        index=index,
        key=key,
        op_type=node.op_type,
        domain=domain,
        inputs=tuple((v.name or "") if v is not None else "" for v in node.inputs),
        outputs=outputs,
        attributes={
            n: a.value
            for n, a in node.attributes.items()
            if a.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        },
        captures=_captured(node),
        proto=ir.serde.serialize_node(node),
    )
