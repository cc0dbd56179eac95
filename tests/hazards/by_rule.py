"""Small models with one hazard each, screened, and judged in true FP16."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from precsearch.core.formats import BFLOAT16
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.hazards import hazards, screened_tensors, softmax_axes
from precsearch.hazards.collect import Screening, screen
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.emulation.by_hand import run_by_hand
from tests.graph.small_layers import SCHEME, GraphBuilder, view

Array = npt.NDArray[Any]
Build = Callable[[GraphBuilder, str], str]

__all__ = ["Ruled"]

ALL = frozenset(Precision)


class Ruled:
    """A model over one input ``x`` of shape (4, 64), screened on given values."""

    def __init__(
        self,
        build: Build,
        values: Array | None = None,
        granularity: str = "node",
        precisions: frozenset[Precision] = ALL,
        measured: bool = True,
        int8_half: bool = False,
    ) -> None:
        b = GraphBuilder()
        rng = np.random.default_rng(0)
        given = rng.standard_normal((4, 64)) if values is None else values
        self.feed: dict[str, Array] = {"x": given.astype(np.float32)}
        b.output(build(b, b.input(["n", 64], name="x")))
        self.graph: GraphView = view(b.model())
        self.space: SearchSpace = group(self.graph, SCHEME, precisions, granularity)
        plain = Lowering(self.graph, self.space, SCHEME, RangeScales({}, SCHEME))
        model = plain.lower(Assignment()).model
        names, axes = screened_tensors(self.graph), softmax_axes(self.graph)
        asked = Screening(model, "", names, axes, others=(BFLOAT16,))
        found = screen(asked, [self.feed]) if measured else None
        self.priors: tuple[Prior, ...] = hazards(
            self.graph, self.space, found, SCHEME, int8_half=int8_half
        )

    def reasons(self, precision: Precision = Precision.FP16) -> dict[str, str]:
        """Group key → the rule against a precision there."""
        return {p.key: p.reason for p in self.priors if p.precision is precision}

    def ops(self) -> list[str]:
        """Operators of the groups that lose FP16, each group's first."""
        keys = self.reasons()
        return [self.graph.by_key[g.nodes[0]].op_type for g in self.space.groups if g.key in keys]

    def loss(self, without: Collection[str]) -> float:
        """Relative error in true FP16 everywhere but in these groups; ``inf`` if not finite."""
        half = [n for g in self.space.groups if g.key not in without for n in g.nodes]
        with np.errstate(all="ignore"):
            right, mine = (run_by_hand(self.graph, self.feed, h) for h in ([], half))
        worst = 0.0
        for name, wanted in right.items():
            if not np.isfinite(mine[name]).all():
                return float("inf")
            wide = wanted.astype(np.float64)
            worst = max(worst, float(np.linalg.norm(mine[name] - wide) / np.linalg.norm(wide)))
        return worst
