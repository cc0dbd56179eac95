"""Small models written as proxies, and as each assignment would be alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from precsearch.backends.tensorrt.scheme import scheme as decided
from precsearch.core.backend import TYPED, GraphForm, QuantScheme
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.emulation.multiplexed import ADDED_BYTES, ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.emulation.single import FlatProxy
from precsearch.graph.prepare import prepare
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.emulation.by_hand import SCHEME, Arrays, plain_session, scales_of
from tests.lowering.random_models import Model, conv_models, matmul_models, source_of

DECIDED = decided()
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MODELS = st.one_of(conv_models(), matmul_models())
GRANULARITY = st.sampled_from(["node", "group"])


@dataclass(frozen=True)
class Written:
    """A model's proxy, open, and what it is compared with."""

    made: ProxyGraph
    proxy: Proxy

    @cached_property
    def _lowering(self) -> Lowering:
        c = self.made.context
        return Lowering(c.graph, c.space, c.scheme, c.scales, c.form)

    @property
    def names(self) -> list[str]:
        """Of the model's outputs."""
        return [o.name for o in self.made.graph.outputs]

    def run(self, assignment: Assignment, feeds: Sequence[Arrays]) -> list[Any]:
        """The outputs by name for each feed, by the proxy."""
        return list(self.proxy.run(self.made.request(assignment), feeds))

    def run_lowered(self, assignment: Assignment, feeds: Sequence[Arrays]) -> list[Any]:
        """By the assignment's lowered model."""
        session = plain_session(self._lowering.lower(assignment).model)
        return [dict(zip(self.names, session.run(None, f), strict=True)) for f in feeds]

    def run_alone(self, assignment: Assignment, feeds: Sequence[Arrays]) -> list[Any]:
        """By the emulation of this one assignment."""
        flat = FlatProxy(self.made.context, assignment)
        session = plain_session(flat.with_outputs(self.names))
        inside = [flat.name(n) for n in self.names]
        return [dict(zip(self.names, session.run(inside, f), strict=True)) for f in feeds]


def written(
    graph: GraphView,
    space: SearchSpace,
    feeds: list[Arrays] | None = None,
    scheme: QuantScheme = SCHEME,
    form: GraphForm = TYPED,
    *,
    lanes: int = 1,
    budget: int = ADDED_BYTES,
) -> Written:
    """A model's proxy, calibrated on ``feeds``; without any, nothing has a scale."""
    scales = scales_of(graph, space, feeds, scheme) if feeds else RangeScales({}, scheme)
    made = ProxyGraph(LoweringContext(graph, space, scheme, scales, form), budget)
    return Written(made, Proxy(made.proxy, lanes, lanes))


def written_half(graph: GraphView, lanes: int = 1) -> Written:
    """A model's proxy with FP32 and FP16, which need no scales."""
    space = group(graph, SCHEME, frozenset({Precision.FP32, Precision.FP16}))
    return written(graph, space, lanes=lanes)


def noise_for(graph: GraphView) -> Arrays:
    """A feed for a model with one input."""
    (given,) = graph.inputs
    shape = [d.dim_value or 1 for d in given.type.tensor_type.shape.dim]
    return {given.name: np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)}


def prepared(model: Model, opset: int) -> GraphView:
    with tempfile.TemporaryDirectory() as folder:
        return prepare(source_of(model, Path(folder)), opset)


def drawn(data: st.DataObject, space: SearchSpace, allowed: set[Precision]) -> Assignment:
    wanted = {
        g.key: data.draw(st.sampled_from([c for c in g.choices if c in allowed]))
        for g in space.free
    }
    return space.canonical(Assignment.of(wanted))


def relative(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    off = found.astype(np.float64) - wanted.astype(np.float64)
    return float(np.linalg.norm(off) / max(float(np.linalg.norm(wanted)), 1e-9))
