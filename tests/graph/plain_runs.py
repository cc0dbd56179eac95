"""Prepared graphs run as FP32 models, without what ONNX Runtime folds and fuses itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.graph.small_layers import SCHEME

BOTH = frozenset({Precision.FP32, Precision.INT8})


def plain_session(model: bytes) -> ort.InferenceSession:
    """Without ONNX Runtime's own folding."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def ran(model: bytes, feed: dict[str, Any]) -> list[np.ndarray]:
    return [np.asarray(v) for v in plain_session(model).run(None, feed)]


def lowered(graph: GraphView) -> bytes:
    space = group(graph, SCHEME, BOTH)
    return Lowering(graph, space, SCHEME, RangeScales({}, SCHEME)).lower(Assignment()).model


def operators(graph: GraphView) -> list[str]:
    return [n.op_type for n in graph.nodes]


def is_free(graph: GraphView, op_type: str) -> bool:
    space = group(graph, SCHEME, BOTH)
    free = {key for g in space.free if not g.passive for key in g.nodes}
    return all(n.key in free for n in graph.nodes if n.op_type == op_type)
