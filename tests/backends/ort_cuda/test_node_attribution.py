"""Which nodes a kernel computes, what it ran in and where, from profiles as a GPU writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from precsearch.backends.onnxruntime.cuda.profiling import profiled
from precsearch.backends.onnxruntime.fused_nodes import fused_nodes, uncomputed
from precsearch.backends.onnxruntime.node_events import node_times, read_profile
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import ResourceError
from precsearch.core.precision import Precision
from tests.backends.ort_cuda.stand_in import StandIn

Row = tuple[str, str, Sequence[str], Sequence[str]]


def graph(*rows: Row, inputs: Sequence[str] = ("x",), stored: Sequence[str] = ()) -> Any:
    """Nodes as (name, operator, inputs, outputs)."""
    nodes = [helper.make_node(op, ins, outs, name=name) for name, op, ins, outs in rows]
    given_ones = [helper.make_tensor_value_info(i, TensorProto.FLOAT, [1]) for i in inputs]
    last = helper.make_tensor_value_info(rows[-1][3][0], TensorProto.FLOAT, [1])
    weights = [helper.make_tensor(name, TensorProto.FLOAT, [1], [1.0]) for name in stored]
    return helper.make_model(helper.make_graph(nodes, "g", given_ones, [last], weights))


GELU = graph(
    ("mm", "MatMul", ["x", "w"], ["a"]),
    ("half", "Cast", ["c"], ["c16"]),
    ("div", "Div", ["a", "c16"], ["b"]),
    ("erf", "Erf", ["b"], ["d"]),
    ("same", "Identity", ["d"], ["e"]),
    ("mul", "Mul", ["a", "e"], ["y"]),
    stored=("w", "c"),
)


def test_a_fused_node_covers_the_nodes_between_its_inputs_and_its_outputs() -> None:
    optimized = graph(
        ("mm", "MatMul", ["x", "w"], ["a"]),
        ("mul/GeluFusion/", "Gelu", ["a"], ["y"]),
        stored=("w", "c16"),
    )
    found = fused_nodes(GELU, optimized)
    assert found["mm"] == ("mm",)
    assert sorted(found["mul/GeluFusion/"]) == ["div", "erf", "half", "mul", "same"]
    assert uncomputed(GELU, found) == ()


def test_a_node_whose_tensors_were_renamed_goes_by_its_name() -> None:
    """A layout transformation gives a convolution's tensors other names."""
    plain = graph(
        ("one", "Conv", ["x", "w"], ["a"]),
        ("two", "Conv", ["a", "w"], ["y"]),
        stored=("w",),
    )
    optimized = graph(
        ("t", "Transpose", ["x"], ["x_nhwc"]),
        ("one", "Conv", ["x_nhwc", "w"], ["a_nhwc"]),
        ("two", "Conv", ["a_nhwc", "w"], ["y_nhwc"]),
        ("back", "Transpose", ["y_nhwc"], ["y"]),
        stored=("w",),
    )
    found = fused_nodes(plain, optimized)
    assert (found["one"], found["two"], found["t"]) == (("one",), ("two",), ())


@given(st.integers(1, 12), st.data())
def test_each_node_belongs_to_one_kernel_at_most(length: int, data: st.DataObject) -> None:
    rows: list[Row] = [(f"n{i}", "Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(length)]
    plain = graph(*rows, inputs=("t0",))
    ends = sorted({*data.draw(st.lists(st.integers(1, length), max_size=4)), length})
    starts = [0, *ends[:-1]]
    fused: list[Row] = [
        (f"fused{a}", "Relu", [f"t{a}"], [f"t{b}"]) for a, b in zip(starts, ends, strict=True)
    ]
    found = fused_nodes(plain, graph(*fused, inputs=("t0",)))
    names = [n for nodes in found.values() for n in nodes]
    assert sorted(names) == sorted(f"n{i}" for i in range(length))
    for a, b in zip(starts, ends, strict=True):
        assert sorted(found[f"fused{a}"]) == sorted(f"n{i}" for i in range(a, b))


def event(name: str, op: str, dur: float, kind: str, provider: str = "CUDA") -> dict[str, Any]:
    """As ONNX Runtime writes one."""
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": dur,
        "args": {
            "op_name": op,
            "provider": f"{provider}ExecutionProvider",
            "node_index": name,
            "output_type_shape": [{kind: [1]}],
        },
    }


def test_times_are_medians_without_the_cold_run() -> None:
    rows = [event("mm", "MatMul", dur, "float16") for dur in (900.0, 12.0, 10.0, 11.0)]
    session = {"cat": "Session", "name": "model_run", "dur": 1.0}
    (found,) = node_times([session, *rows])
    assert found.seconds == pytest.approx(11e-6)
    assert found.float_precision is Precision.FP16


def test_a_kernel_ran_in_the_type_of_its_output() -> None:
    optimized = graph(
        ("mm", "MatMul", ["x", "w"], ["a"]),
        ("cast", "Cast", ["a"], ["a32"]),
        ("mul/GeluFusion/", "Gelu", ["a32"], ["y"]),
        stored=("w",),
    )
    times = node_times(
        [
            event("mm", "MatMul", 5.0, "float16"),
            event("cast", "Cast", 1.0, "float"),
            event("mul/GeluFusion/", "Gelu", 2.0, "float", "CPU"),
            event("shape", "Shape", 1.0, "int64", "CPU"),
        ]
    )
    found = profiled(GELU, optimized, times)
    ran = {k.nodes[0]: k.precision for k in found.kernels()}
    assert ran["mm"] is Precision.FP16
    assert ran["cast"] is None
    assert ran["shape"] is None
    assert found.fallbacks("CUDAExecutionProvider") == ("mul",)


def test_a_value_that_was_stored_has_a_place_in_the_profile() -> None:
    """Else its group would seem to have run in FP32."""
    plain = graph(
        ("fold", "Relu", ["c"], ["d"]), ("mm", "MatMul", ["x", "w"], ["y"]), stored=("c", "w")
    )
    optimized = graph(("mm", "MatMul", ["x", "w"], ["y"]), stored=("w",))
    found = profiled(plain, optimized, node_times([event("mm", "MatMul", 1.0, "float")]))
    stored = [k for k in found.kernels() if "fold" in k.nodes]
    assert [(k.precision, k.seconds) for k in stored] == [(None, 0.0)]


def test_a_profile_that_was_not_written_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="TMPDIR"):
        read_profile(tmp_path / "profile.json")
    (tmp_path / "profile.json").write_text("[{")
    with pytest.raises(ResourceError):
        read_profile(tmp_path / "profile.json")


def test_nodes_without_a_name_are_handled() -> None:
    plain = graph(("", "Relu", ["x"], ["a"]), ("", "Relu", ["a"], ["y"]))
    assert onnx.ModelProto is type(plain)
    assert set(fused_nodes(plain, plain)) == {""}


def test_nodes_that_ran_on_the_cpu_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"n{i}" for i in range(5)]
    rows: list[Row] = [(n, "Relu", [f"t{i}"], [f"t{i + 1}"]) for i, n in enumerate(names)]
    model = graph(*rows, inputs=("t0",))
    times = node_times([event(n, "Relu", 1.0, "float", "Other") for n in names])
    backend = StandIn(BackendOptions())
    monkeypatch.setattr(
        backend._profiles, "profile", lambda *_: profiled(model, model, times), raising=True
    )
    artifact = model.SerializeToString()
    backend.open(artifact, profiled=True).profile({}, 1)
    (said,) = backend.warnings(artifact)
    assert said.startswith("ran on the CPU, because")
    assert said.endswith("n0, n1, n2 and 2 more")


@pytest.mark.parametrize(
    ("op_type", "wrote", "build", "told"),
    [
        ("FusedConv", "float16", {}, True),
        ("Conv", "float16", {"prefer_nhwc": "true"}, False),
        ("Conv", "float", {}, False),
        ("MatMul", "float16", {}, False),
    ],
)
def test_the_untried_layout_is_reported_where_it_may_matter(
    op_type: str, wrote: str, build: dict[str, str], told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = graph(("n", op_type, ["x"], ["y"]))
    provider = "CPUExecutionProvider"
    times = node_times([event("n", op_type, 1.0, wrote, provider)])
    backend = StandIn(BackendOptions(build=build))
    monkeypatch.setattr(backend._profiles, "profile", lambda *_: profiled(model, model, times))
    engine = graph(("n", "Relu", ["x"], ["y"])).SerializeToString()
    backend.open(engine, profiled=True).profile({}, 1)
    assert any("prefer_nhwc=true" in line for line in backend.warnings(engine)) is told
