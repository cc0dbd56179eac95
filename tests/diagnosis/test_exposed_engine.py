"""What taking inner tensors out of an engine changes is measured, NaN included."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import Array, BackendOptions, Feed, KernelTime
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.diagnosis.exposed_engine import EngineTensors
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.graph.small_layers import SCHEME, GraphBuilder, view

NAN, INF = math.nan, math.inf


class _Answers:
    """A session that gives the same whatever it is asked."""

    def __init__(self, values: Mapping[str, Array]) -> None:
        self.values = dict(values)

    def run(self, feed: Feed) -> dict[str, Array]:
        return self.values

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [1.0] * repeats

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return ()

    def close(self) -> None:
        pass


class _Exposing(OnnxRuntimeBackend):
    """An engine whose output is another once one of its tensors is exposed."""

    def __init__(self, output: str, plain: list[float], exposed: list[float]) -> None:
        super().__init__(BackendOptions())
        self.output = output
        self.plain, self.exposed = np.array(plain), np.array(exposed)

    def open(self, artifact: bytes, *, profiled: bool = False) -> Any:
        names = [o.name for o in onnx.ModelProto.FromString(artifact).graph.output]
        more = {name: np.zeros(2, np.float32) for name in names}
        return _Answers({**more, self.output: self.exposed if len(names) > 1 else self.plain})


def changed(plain: list[float], exposed: list[float]) -> float:
    b = GraphBuilder()
    hidden = b.op("Relu", b.input(["n", 4]))
    output = b.output(b.op("Neg", hidden))
    graph = view(b.model())
    space = group(graph, SCHEME, frozenset({Precision.FP32}))
    lowered = Lowering(graph, space, SCHEME, RangeScales({}, SCHEME)).lower(Assignment())
    engine = EngineTensors(_Exposing(output, plain, exposed), graph, lowered, [hidden])
    engine.open([hidden]).run({})
    return engine.changed


@pytest.mark.parametrize(
    ("plain", "exposed", "change"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([3.0, 4.0], [3.0, 4.5], 0.1),
        ([1.0, 2.0], [NAN, 2.0], INF),
        ([1.0, 2.0], [1.0, INF], INF),
        ([NAN, 2.0], [1.0, 2.0], INF),
        ([INF, 2.0], [-INF, 2.0], INF),
        ([NAN, 2.0], [NAN, 2.0], 0.0),
        ([INF, 3.0, 4.0], [INF, 3.0, 4.5], 0.1),
        ([1.0, 2.0], [1.0], INF),
    ],
)
def test_a_changed_output_is_reported_and_nan_counts_as_a_change(
    plain: list[float], exposed: list[float], change: float
) -> None:
    assert changed(plain, exposed) == pytest.approx(change)
