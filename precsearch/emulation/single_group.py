"""What a single group costs, the others in FP32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from precsearch.core.backend import Feed
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.lowering.context import LoweringContext
from precsearch.metrics.distance import worst_relative_l2

__all__ = ["SingleGroupLoss"]


class SingleGroupLoss:
    """Scores single groups by one proxy, opened when the first is asked for.

    Args:
        context: The prepared model, its groups, and how assignments of it are written.
        assignment: What the groups are scored in.
        model_folder: Folder of external weights.
        feeds: Samples, of which the first eight are used.
    """

    def __init__(
        self,
        context: LoweringContext,
        assignment: Assignment,
        model_folder: str,
        feeds: Sequence[Feed],
    ) -> None:
        self._context = context
        self._assignment = assignment
        self._folder = model_folder
        self._feeds = feeds[:8]
        self._known: dict[str, float] = {}

    @cached_property
    def _opened(self) -> tuple[ProxyGraph, Proxy, list[dict[str, np.ndarray]]]:
        groups = tuple(
            replace(g, choices=tuple(dict.fromkeys((Precision.FP32, self._assignment[g.key]))))
            for g in self._context.space.groups
        )
        space = replace(self._context.space, groups=groups)
        graph = ProxyGraph(replace(self._context, space=space))
        proxy = Proxy(graph.proxy, 2, 2, self._folder)
        reference = proxy.run(graph.request(Assignment()), self._feeds)
        return graph, proxy, reference

    def loss(self, key: str) -> float | None:
        """Relative L2 of the outputs if one group alone is as assigned, ``None`` if that is FP32.

        Raises:
            BuildError: The proxy does not open.
            RunError: It fails on the samples.
        """
        precision = self._assignment[key]
        if precision is Precision.FP32:
            return None
        if key not in self._known:
            graph, proxy, reference = self._opened
            outputs = proxy.run(graph.request(Assignment.of({key: precision})), self._feeds)
            self._known[key] = worst_relative_l2(outputs, reference)
        return self._known[key]
