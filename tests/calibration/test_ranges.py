"""Ranges of activations: exact, cut, and found without holding all activations at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from precsearch.calibration.range_cuts import BINS, CUTS, histogram
from precsearch.calibration.ranges import METHODS, Calibration, collect_ranges
from precsearch.core.errors import ModelError, OptionError
from precsearch.lowering.qdq.scales import TensorRange
from tests.e2e.command import environment

Array = npt.NDArray[Any]


def chain(ops: Sequence[str], shape: Sequence[int | str]) -> bytes:
    """x → t0 → t1 …, each by one operator; the last is the output."""
    nodes = [
        helper.make_node(op, ["x" if i == 0 else f"t{i - 1}"], [f"t{i}"])
        for i, op in enumerate(ops)
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"t{len(ops) - 1}", TensorProto.FLOAT, None)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(proto.SerializeToString())


def ranges(
    method: str, feeds: Sequence[Array], ops: Sequence[str] = ("Identity",), *tensors: str
) -> dict[str, TensorRange]:
    model = chain(ops, ["n", "m"])
    wanted = tensors or ("x",)
    return collect_ranges(Calibration(model, "", wanted, method), [{"x": f} for f in feeds])


FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(FLOATS, min_size=4, max_size=4), min_size=1, max_size=3))
def test_min_max_is_exact(rows: list[list[float]]) -> None:
    feeds = [np.asarray([row], np.float32) for row in rows]
    found = ranges("minmax", feeds, ("Neg", "Relu"), "x", "t0", "t1")
    everything = np.concatenate(feeds)
    for name, values in (
        ("x", everything),
        ("t0", -everything),
        ("t1", np.maximum(-everything, 0)),
    ):
        assert found[name] == TensorRange(float(values.min()), float(values.max()))


def with_outlier(count: int = 200_000) -> list[Array]:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, count // 4)).astype(np.float32)
    values[1, 7] = 1000.0
    return [values[i : i + 1] for i in range(4)]


def test_percentile_cuts_an_outlier_and_mse_stays_between() -> None:
    feeds = with_outlier()
    exact, cut, least = (ranges(method, feeds)["x"] for method in METHODS[:3])
    assert exact.high == 1000.0
    assert exact.low == float(min(f.min() for f in feeds))
    assert cut.high < 10
    assert cut.high < least.high < exact.high
    assert least.low >= exact.low
    for found in (cut, least):
        assert found.low <= 0 <= found.high


@pytest.mark.parametrize("method", METHODS)
def test_every_method_covers_well_behaved_values(method: str) -> None:
    """A uniform distribution is not worth cutting, and what is never negative stays so."""
    values = np.random.default_rng(1).uniform(0.5, 4, (4, 50_000)).astype(np.float32)
    found = ranges(method, [values[i : i + 1] for i in range(4)])["x"]
    assert found.low >= 0
    assert 3.9 < found.high <= 4.001


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_and_an_empty_range_are_ranges(method: str) -> None:
    for value in (0.0, 3.0, -2.0, 1e30, -1e30):
        found = ranges(method, [np.full((1, 8), value, np.float32)])["x"]
        assert np.isfinite([found.low, found.high]).all()
        assert found.low <= found.high
        assert min(found.low, 0) <= value <= max(found.high, 0) or method != "minmax"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_tensor_that_was_not_finite_once_has_no_range(method: str, bad: float) -> None:
    feeds = [np.ones((1, 4), np.float32) for _ in range(3)]
    feeds[1][0, 2] = bad
    found = ranges(method, feeds, ("Identity", "Sign"), "x", "t1")
    assert "x" not in found
    assert np.isnan(bad) or found["t1"].high == 1.0


def test_an_overflow_inside_the_model_is_seen() -> None:
    found = ranges("minmax", [np.full((1, 2), 1e30, np.float32)], ("Exp", "Sign"), "x", "t0")
    assert found == {"x": TensorRange(float(np.float32(1e30)), float(np.float32(1e30)))}


def test_mistakes_are_reported_in_one_sentence() -> None:
    with pytest.raises(OptionError, match="use one of minmax, percentile, mse, entropy"):
        Calibration(b"", "", (), "median")
    with pytest.raises(ModelError, match="calibration failed"):
        ranges("minmax", [np.ones((1, 2, 3), np.float32)])
    assert collect_ranges(Calibration(b"not a model", "", ()), []) == {}


MEASURE = """
import resource, sys
import numpy as np
from precsearch.calibration.ranges import Calibration, collect_ranges
from tests.calibration.test_ranges import chain
ops, side = ["Sin", "Cos"] * 20, 1024
model = chain(ops, [side, side])
feeds = [{"x": np.ones((side, side), np.float32)} for _ in range(2)]
names = tuple(f"t{i}" for i in range(len(ops)))
collect_ranges(Calibration(model, "", names[:1], sys.argv[1]), feeds[:1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = collect_ranges(Calibration(model, "", names, sys.argv[1]), feeds)
assert len(found) == len(ops)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024, len(ops) * side * side * 4)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage")
def test_memory_does_not_grow_with_the_number_of_tensors() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "minmax"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    grown, everything = map(int, done.stdout.split())
    assert everything == 40 * 4 << 20
    assert grown < everything / 4


def test_outputs_of_the_model_do_not_matter() -> None:
    """Statistics of a tensor that is an output too; names that a user may have chosen."""
    model = onnx.ModelProto.FromString(chain(("Neg", "Abs"), [1, 3]))
    model.graph.output.append(helper.make_tensor_value_info("t0", TensorProto.FLOAT, None))
    calibration = Calibration(model.SerializeToString(), "", ("t0", "t1"))
    found = collect_ranges(calibration, [{"x": np.array([[1, -2, 3]], np.float32)}])
    assert found == {"t0": TensorRange(-3.0, 2.0), "t1": TensorRange(1.0, 3.0)}


@pytest.mark.parametrize("shape", [lambda v: v, lambda v: np.maximum(v, 0), lambda v: v**3])
def test_the_least_squared_error_is_that_of_trying_every_range(shape: Any) -> None:
    values = shape(np.random.default_rng(3).standard_normal(5000)).astype(np.float32)
    span = TensorRange(float(values.min()), float(values.max()))
    counts = histogram(values, span)
    edges = np.linspace(span.low, span.high, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2

    def cost(share: float) -> float:
        low, high = min(span.low, 0.0) * share, max(span.high, 0.0) * share
        beyond = np.maximum(centres - high, 0) + np.maximum(low - centres, 0)
        inside = (beyond == 0) * ((high - low) / 255) ** 2 / 12
        return float(counts @ (beyond**2 + inside))

    shares = [1 - step / 80 for step in range(64)]
    found = CUTS["mse"](counts, span, 255)
    assert found.high == pytest.approx(max(span.high, 0.0) * min(shares, key=cost))


def test_a_range_wider_than_the_largest_number_has_its_values_in_their_bins() -> None:
    """As of a mask of -3.4e38 and its opposite."""
    most = float(np.finfo(np.float32).max)
    values = np.array([-most, -most, 0.5 * most, most], np.float32)
    counts = histogram(values, TensorRange(-most, most))
    assert {int(i): int(counts[i]) for i in np.flatnonzero(counts)} == {
        0: 2,
        BINS * 3 // 4: 1,
        BINS - 1: 1,
    }


@pytest.mark.parametrize("width", [0.0, 1e-45, 1e-6, 1.0, 1e38])
def test_a_histogram_counts_every_value_however_narrow_the_range(width: float) -> None:
    values = np.float32(1.0 if width < 1 else 0.0) + np.float32(width) * np.arange(5) / 4
    values = values.astype(np.float32)
    counts = histogram(values, TensorRange(float(values.min()), float(values.max())))
    assert counts.sum() == 5
    assert counts[0] >= 1


@pytest.mark.parametrize("method", METHODS)
def test_tensors_with_names_that_calibration_might_add_are_calibrated(method: str) -> None:
    proto = onnx.ModelProto.FromString(chain(("Neg", "Relu", "Abs"), ["n", "m"]))
    names = {"t0": "precsearch_zero", "t1": "precsearch_0_min", "t2": "precsearch/zero"}
    for node in proto.graph.node:
        node.input[:] = [names.get(t, t) for t in node.input]
        node.output[:] = [names[t] for t in node.output]
    proto.graph.output[0].name = names["t2"]
    model, feeds = proto.SerializeToString(), [{"x": np.array([[-2.0, 1.0]], np.float32)}]
    found = collect_ranges(Calibration(model, "", tuple(names.values()), method), feeds)
    assert found.keys() == set(names.values())
