"""Smoothing: a Mul in front of products; FP32 stays, and INT8 has less to round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import precsearch
from precsearch import api
from precsearch.codec.vectors import encode_vector
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import SourceModel
from precsearch.optimization.front.plan_at import plan_at
from precsearch.rewrites import with_rewrites
from precsearch.rewrites.scaling.smooth import SMOOTH, smoothable
from tests.e2e.plugins.clocked_backend import here
from tests.optimization.unequal import searched
from tests.rewrites.scalable_models import Chain

WIDTH = 32
LARGE = [3, 11]


def post_norm() -> onnx.ModelProto:
    """A block as BERT has it: a norm feeds a product and the residual Add behind it.

    Two channels are 40 times as large as the others, and what reads them weighs them less.
    """
    chain = Chain(0)
    gamma, beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    gamma[LARGE] = 40
    chain.node("Identity", ["x"])
    affine = [chain.constant(gamma), chain.constant(beta)]
    norm = chain.node("LayerNormalization", [chain.tensor, *affine], axis=-1)
    for width in (4 * WIDTH, 2 * WIDTH):
        weight = chain.rng.normal(0, 0.2, (WIDTH, width)).astype(np.float32)
        weight[LARGE] /= 40
        chain.node("MatMul", [chain.tensor, chain.constant(weight)])
        if width == 4 * WIDTH:
            half = chain.node("Tanh", [chain.tensor])
            back = chain.node("MatMul", [half, chain.weight(width, WIDTH, low=-0.1, high=0.1)])
            chain.node("Add", [back, norm])
    return chain.model(["n", 6, WIDTH])


def source_of(model: onnx.ModelProto) -> SourceModel:
    return SourceModel(Path("model.onnx"), model, "", ())


def test_readers_of_a_norm_beside_a_residual_are_smoothable() -> None:
    graph = prepare(source_of(post_norm()))
    assert [(t, [n.key for n in nodes]) for t, nodes in smoothable(graph).items()] == [
        ("t1", ["t2"]),
        ("t5", ["t6"]),
    ]


def test_the_residual_reads_the_norm_as_it_is() -> None:
    steps = np.zeros(WIDTH, np.int64)
    steps[3] = 4
    changed = with_rewrites(source_of(post_norm()), [(SMOOTH, {"t1": encode_vector(steps)})]).proto
    reads = {n.output[0]: list(n.input) for n in changed.graph.node}
    assert reads["t1/smooth"][0] == "t1"
    assert reads["t2"][0] == "t1/smooth"
    assert "t1" in reads["t5"]
    weights = {w.name: numpy_helper.to_array(w) for w in changed.graph.initializer}
    before = {w.name: numpy_helper.to_array(w) for w in post_norm().graph.initializer}
    np.testing.assert_array_equal(weights["t2/smooth/weight"][3], 16 * before["w2"][3])
    assert weights["t1/smooth/factor"][3] == 1 / 16


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"t1": encode_vector(np.ones(5, np.int64))},
        {"t1": encode_vector(np.zeros(WIDTH, np.int64))},
        {"t1": "no vector"},
        {"none": encode_vector(np.ones(WIDTH, np.int64))},
    ],
)
def test_factors_that_fit_nothing_change_nothing(parameters: dict[str, str]) -> None:
    source = source_of(post_norm())
    assert with_rewrites(source, [(SMOOTH, parameters)]).proto is source.proto


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Post-norm blocks, their data, and an engine on which INT8 is always the faster."""
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    onnx.save(post_norm(), "model.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(0, 1, (16, 6, WIDTH)).astype(np.float32))
    return tmp_path


def test_smoothed_products_round_less_and_their_plan_is_replayed_byte_for_byte(place: Path) -> None:
    found = searched(corrections=("smooth",), tol=0.5)
    row = found.evidence.corrections[-1]
    assert (row.name, row.kept) == ("smooth", True)
    assert row.after < 0.6 * row.before
    assert [r.name for r in found.recipe.rewrites] == ["smooth"]
    assert precsearch.build("model.plan.json", "model.onnx", "fast.onnx").verdict == "identical"
    made = [n.name for n in onnx.load("fast.onnx").graph.node]
    assert "t1/smooth" in made


def test_a_plan_of_fp32_alone_has_no_factors(place: Path) -> None:
    found = searched(corrections=("smooth",), tol=1e-6)
    assert found.evidence.corrections[0].kept
    assert found.recipe.rewrites == ()
    assert "t1/smooth" not in {g.key for g in found.recipe.groups}
    assert precsearch.build("model.plan.json", "model.onnx", "plain.onnx").verdict == "identical"


def test_an_engine_of_the_run_can_be_made_a_plan_of_later(place: Path) -> None:
    first = searched(corrections=("smooth",), tol=0.5)
    made = plan_at("model.precsearch", 0.5, "later.plan.json")
    assert api.load_plan(made.path).recipe.digest == first.recipe.digest
