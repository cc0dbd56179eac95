"""Quantising the weights of a large model before its graph is written, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from precsearch.graph.view import NodeView
from precsearch.lowering.capabilities import weight_slot
from precsearch.lowering.emitter import Emitter
from precsearch.lowering.engines.ort_workarounds import EngineForms
from precsearch.lowering.write_node import weight_form

__all__ = ["quantise_ahead"]

_LARGE = 1 << 24
"""Elements to quantise; of fewer, threads would save milliseconds."""


def quantise_ahead(emitter: Emitter, forms: EngineForms, take: Callable[[bytes], object]) -> None:
    """Fill the emitter's cache, if that is much work: NumPy computes without Python's lock.

    Args:
        emitter: For the assignment that is going to be written.
        forms: What the engine wants to have written otherwise.
        take: Is given each constant, on any thread.

    Raises:
        ModelError: A weight has values that are not finite.
    """
    graph, cache = emitter.graph, emitter.cache
    nodes = [graph.nodes[i] for i in sorted(emitter.active)]
    weighty = [n for n in nodes if weight_slot(n, graph) is not None and not cache.has(n.inputs[1])]
    if sum(graph.weights[n.inputs[1]].size for n in weighty) < _LARGE:
        return

    def quantise(node: NodeView) -> None:
        cache.seen.add(node.inputs[1])
        take(emitter.cache_weight(node.inputs[1], weight_form(emitter, node, forms)))

    with ThreadPoolExecutor(_cores(), thread_name_prefix="precsearch-lower") as threads:
        list(threads.map(quantise, weighty))


def _cores() -> int:
    """Those that this thread may use: its device's, where it lowers for one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
