"""ONNX Runtime's faults around mixed types, and a search that meets none of them."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from precsearch.api import OptimizeConfig, optimize_events
from precsearch.backends.onnxruntime.cuda import provider
from precsearch.backends.onnxruntime.cuda.provider import SessionRequest
from precsearch.backends.onnxruntime.fusion_faults import faulty_fusion
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import BuildError
from precsearch.core.events import TrialFinished
from precsearch.graph.reading.read import read_model
from precsearch.plan.plan import read_plan
from precsearch.replay.materialize import materialize
from precsearch.setup.target import open_target
from tests.backends.ort_cuda.stand_in import CPU, StandIn, installed
from tests.backends.ov.small_engines import cnn
from tests.graph.small_layers import GraphBuilder, layer_norm, linear

# As an H200 said it, with ONNX Runtime 1.31.1.
SEEN = (
    "[ONNXRuntimeError] : 1 : FAIL : Type Error: Type parameter (T) of Optype (LayerNormalization) "
    "bound to different types (tensor(float16) and tensor(float) in node "
    "(blk1/ln2/scale_o/LayerNormFusion/)."
)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (SEEN, "LayerNormFusionL2"),
        (SEEN.replace("/LayerNormFusion/", "/SkipLayerNormFusion/"), "SkipLayerNormFusion"),
        (SEEN.replace("/LayerNormFusion/", ""), ""),
        ("Could not find an implementation for Conv(22)", ""),
    ],
)
def test_the_failing_fusion_is_read_from_the_message(message: str, name: str) -> None:
    found = faulty_fusion(message)
    assert name in found if name else found == ()


class Faulty:
    """Opens sessions, and fails in a fusion as long as it is not left out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, always: bool = False) -> None:
        self.tried: list[tuple[str, ...]] = []
        plain = provider._opened

        def opened(request: SessionRequest, which: object, left_out: tuple[str, ...]) -> object:
            self.tried.append(left_out)
            if always or not left_out:
                raise RuntimeError(SEEN)
            return plain(request, which, left_out)  # type: ignore[arg-type]

        monkeypatch.setattr(provider, "_opened", opened)


def test_an_engine_opens_without_the_fusion_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty, backend, model = Faulty(monkeypatch), StandIn(BackendOptions()), cnn()
    artifact = model.SerializeToString()
    backend.open(artifact).close()
    assert faulty.tried == [(), faulty_fusion(SEEN)]
    (sentence,) = backend.warnings(artifact)
    assert "load it with disabled_optimizers=['LayerNormFusion'" in sentence


def test_a_fault_that_remains_is_a_failed_build(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = Faulty(monkeypatch, always=True)
    with pytest.raises(BuildError, match="bound to different types"):
        StandIn(BackendOptions(build={"enable_cuda_graph": "false"})).open(
            cnn().SerializeToString()
        )
    assert faulty.tried == [(), faulty_fusion(SEEN)]


def test_onnx_runtime_knows_the_optimizers_by_these_names() -> None:
    """A name that it does not know would be ignored, and the fault would stay."""
    b = GraphBuilder()
    b.output(layer_norm(b, b.input([4, 64]), 64))
    model = b.model().SerializeToString()
    assert fused(model, ()) == 1
    assert fused(model, faulty_fusion(SEEN)) == 0


def fused(model: bytes, left_out: tuple[str, ...]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        provider._opened(SessionRequest(model, optimized=path), CPU, left_out)
        return sum("LayerNorm" in n.op_type for n in onnx.load(path).graph.node)


@pytest.fixture
def norms(tmp_path: Path) -> Path:
    """A model with two decomposed LayerNorms, and its samples."""
    b = GraphBuilder()
    x = b.input(["n", 16, 64], name="x")
    x = layer_norm(b, linear(b, x, 64, 64), 64)
    b.output(layer_norm(b, linear(b, x, 64, 64), 64))
    onnx.save(b.model(), tmp_path / "m.onnx")
    samples = np.random.default_rng(0).standard_normal((16, 16, 64)).astype(np.float32)
    np.savez(tmp_path / "m.npz", x=samples)
    return tmp_path


def test_a_norm_is_fused_into_one_node_before_the_search(norms: Path) -> None:
    target = open_target(read_model(norms / "m.onnx"), installed(), None, "node", 0)
    assert target.rewrites == (("fuse-layernorm", {}),)
    assert [n.op_type for n in target.graph.nodes].count("LayerNormalization") == 2
    plain = open_target(read_model(norms / "m.onnx"), "onnxruntime", None, "node", 0)
    assert plain.rewrites == ()
    assert "LayerNormalization" not in [n.op_type for n in plain.graph.nodes]


def test_a_plan_names_the_rewrite_and_gives_the_same_bytes_again(norms: Path) -> None:
    config = OptimizeConfig(
        norms / "m.onnx",
        norms / "m.npz",
        1.0,
        backend=installed(),
        output=norms / "plan.json",
        run_dir=norms / "run",
        max_builds=2,
    )
    trials = [e.trial for e in optimize_events(config) if isinstance(e, TrialFinished)]
    assert any(len(t.assignment) for t in trials), "FP16 was tried"
    plan = read_plan(norms / "plan.json")
    assert [r.name for r in plan.recipe.rewrites] == ["fuse-layernorm"]
    assert plan.recipe.options["use_tf32"] in ("true", "false")
    made = materialize(plan, norms / "m.onnx", None)
    assert materialize(plan, norms / "m.onnx", None).lowered.model == made.lowered.model
    assert hashlib.sha256(made.lowered.model).hexdigest() == plan.recipe.materialised_sha256
