"""Rewrites are exact in FP32, apply only where they fit, and can be repeated by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precsearch.core.errors import OptionError
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.graph.view import GraphView
from precsearch.rewrites import (
    REWRITES,
    Recorded,
    clamped_constants,
    fused_norms,
    merged_scales,
    norm_exponents,
    rewritten,
    scaled_norms,
    with_rewrites,
)
from tests.diagnosis.sick_models import SHAPE, WIDTH, Maker, masked, overflowing, split_scales

Array = np.ndarray[Any, np.dtype[Any]]
FEED = {"x": np.random.default_rng(3).normal(0, 1, (3, *SHAPE[1:])).astype(np.float32)}
BIG = {"one/sub": 1e3, "two/sub": 1e5, "n/sub": 1e4}


def source_of(model: onnx.ModelProto, folder: Path) -> SourceModel:
    onnx.save(model, folder / "model.onnx")
    return read_model(folder / "model.onnx")


def run(model: bytes, feed: dict[str, Array] | None = None) -> Array:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: Array = ort.InferenceSession(model, options).run(None, feed or FEED)[0]
    return found


def ops(model: bytes) -> list[str]:
    return [n.op_type for n in onnx.ModelProto.FromString(model).graph.node]


CASES: list[tuple[Callable[[], onnx.ModelProto], Recorded]] = [
    (overflowing, ("fuse-layernorm", {})),
    (overflowing, ("scale-variance", {"one/div": 3, "two/div": 9})),
    (masked, ("clamp-constants", {})),
    (split_scales, ("merge-scales", {})),
    (split_scales, ("fuse-layernorm", {})),
]


@pytest.mark.parametrize(("make", "named"), CASES)
def test_fp32_is_unchanged_and_a_rewrite_can_be_repeated(
    make: Callable[[], onnx.ModelProto], named: Recorded, tmp_path: Path
) -> None:
    source = source_of(make(), tmp_path)
    first, second = (with_rewrites(source, [named]).proto.SerializeToString() for _ in range(2))
    assert first == second
    assert ops(first) != ops(source.proto.SerializeToString()) or named[0] == "clamp-constants"
    wanted = run(source.proto.SerializeToString())
    np.testing.assert_allclose(run(first), wanted, rtol=1e-5, atol=1e-5)
    onnx.checker.check_model(onnx.ModelProto.FromString(first), full_check=True)


@pytest.mark.parametrize(("make", "named"), CASES)
def test_a_rewritten_model_is_not_rewritten_again(
    make: Callable[[], onnx.ModelProto], named: Recorded, tmp_path: Path
) -> None:
    graph = prepare(with_rewrites(source_of(make(), tmp_path), [named]))
    left = {
        "fuse-layernorm": fused_norms(graph),
        "scale-variance": scaled_norms(graph, {}),
        "clamp-constants": clamped_constants(graph),
        "merge-scales": merged_scales(graph),
    }
    assert left[named[0]] is None


def test_a_norm_s_nodes_become_one(tmp_path: Path) -> None:
    made = ops(
        with_rewrites(
            source_of(overflowing(), tmp_path), [("fuse-layernorm", {})]
        ).proto.SerializeToString()
    )
    assert made.count("LayerNormalization") == 2
    assert not {"Pow", "Sqrt", "ReduceMean", "Div"} & set(made)


def test_an_old_model_is_raised_for_it(tmp_path: Path) -> None:
    onnx.save(overflowing(13), tmp_path / "old.onnx")
    np.savez(tmp_path / "d.npz", **FEED)  # type: ignore[arg-type]
    found = diagnose(DiagnoseConfig(tmp_path / "old.onnx", tmp_path / "d.npz", suggest=True))
    assert {s.name for s in found.suggestions if s.after < 1e-2} == {
        "fuse-layernorm",
        "scale-variance",
    }


def test_rewrites_follow_each_other(tmp_path: Path) -> None:
    source = source_of(split_scales(), tmp_path)
    both = with_rewrites(source, [("merge-scales", {}), ("fuse-layernorm", {})])
    made = ops(both.proto.SerializeToString())
    assert "LayerNormalization" in made
    assert made.count("Mul") == ops(source.proto.SerializeToString()).count("Mul") - 2
    wanted = run(source.proto.SerializeToString())
    np.testing.assert_allclose(run(both.proto.SerializeToString()), wanted, rtol=1e-5, atol=1e-5)
    assert both.digest == source.digest


def test_a_rewrite_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="there is no rewrite 'hope'; use one of") as refused:
        with_rewrites(source_of(masked(), tmp_path), [("hope", {})])
    assert str(refused.value).partition("use one of ")[2].split(", ") == list(REWRITES)
    assert {
        "fuse-layernorm",
        "scale-variance",
        "clamp-constants",
        "merge-scales",
        "fold-bias",
        "lift-quantization",
        "equalize",
        "smooth",
    } == set(REWRITES)


# Where they do not fit.


def graph_of(maker: Maker, output: str, folder: Path, opset: int = 17) -> GraphView:
    return prepare(source_of(maker.model(output, opset), folder))


def test_a_norm_whose_difference_others_read_is_not_scaled(tmp_path: Path) -> None:
    m = Maker()
    normed = m.norm("n", "x")
    graph = graph_of(m, m.node("Add", "out", normed, "n/sub"), tmp_path)
    assert norm_exponents(graph, BIG) == {}
    assert scaled_norms(graph, {}) is None
    fused = fused_norms(graph)
    assert fused is not None
    np.testing.assert_allclose(
        run(rewritten(graph, fused.rewrite)), run(m.model("out").SerializeToString()), atol=1e-5
    )


def test_similar_graphs_are_not_rewritten_as_norms(tmp_path: Path) -> None:
    m = Maker()
    mean = m.node("ReduceMean", "mean", "x", axes=[1], keepdims=1)
    sub = m.node("Sub", "sub", "x", mean)
    square = m.node("Pow", "pow", sub, m.weight(2.0))
    variance = m.node("ReduceMean", "variance", square, axes=[1], keepdims=1)
    root = m.node("Sqrt", "sqrt", m.node("Add", "eps", variance, m.weight(1e-5)))
    m.node("Div", "div", sub, root)
    graph = graph_of(m, "div", tmp_path)
    assert fused_norms(graph) is None, "another axis"
    m = Maker()
    m.norm("n", "x")
    cube = next(n for n in m.nodes if n.op_type == "Pow")
    cube.input[1] = m.weight(3.0)
    assert fused_norms(graph_of(m, "n", tmp_path)) is None, "another power"


def test_a_constant_that_is_not_a_mask_is_left(tmp_path: Path) -> None:
    m = Maker()
    big = m.weight(np.full((WIDTH, WIDTH), 1e6))
    graph = graph_of(m, m.node("MatMul", "out", "x", big), tmp_path)
    assert clamped_constants(graph) is None


def test_a_scale_that_others_read_is_not_merged(tmp_path: Path) -> None:
    m = Maker()
    q = m.node("Mul", "q", "x", m.weight(0.5))
    turned = m.node("Transpose", "kt", m.node("Mul", "k", "x", m.weight(0.5)), perm=[0, 2, 1])
    scores = m.node("MatMul", "scores", q, turned)
    graph = graph_of(m, m.node("Add", "out", m.node("MatMul", "again", scores, "x"), q), tmp_path)
    assert merged_scales(graph) is None


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    first=st.floats(2**-10, 1e3, width=32),
    second=st.floats(2**-10, 1e3, width=32),
    before=st.booleans(),
    seed=st.integers(0, 9),
)
def test_scales_are_merged_wherever_they_stand(
    tmp_path_factory: pytest.TempPathFactory, first: float, second: float, before: bool, seed: int
) -> None:
    m = Maker(seed)
    q = m.node("Mul", "q", m.weight(first), "x")
    if before:
        turned = m.node(
            "Transpose", "kt", m.node("Mul", "k", "x", m.weight(second)), perm=[0, 2, 1]
        )
    else:
        kt = m.node("Transpose", "k", "x", perm=[0, 2, 1])
        turned = m.node("Mul", "kt", kt, m.weight(second))
    m.node("MatMul", "out", m.node("MatMul", "scores", q, turned), "x")
    graph = graph_of(m, "out", tmp_path_factory.mktemp("m"))
    named = merged_scales(graph)
    assert named is not None
    found = run(rewritten(graph, named.rewrite))
    np.testing.assert_allclose(found, run(m.model("out").SerializeToString()), rtol=1e-4, atol=1e-6)
