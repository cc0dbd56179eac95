"""`diagnose` names what goes wrong, where it begins, and what repairs it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import precsearch
from precsearch.core.errors import DataError, OptionError
from precsearch.core.precision import Precision
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.diagnosis.miscompilation import check_engine
from precsearch.diagnosis.result import Diagnosis
from tests.diagnosis.sick_models import SHAPE
from tests.odd.models.odd_models import MODELS as ODD
from tests.odd.test_odd_models import NUMB
from tests.optimization.unequal import unequal
from tests.rewrites.scalable_models import CHANNELS
from tests.rewrites.test_smooth import WIDTH, post_norm

INT8 = Precision.INT8


def found(folder: Path, name: str, **options: Any) -> Diagnosis:
    return diagnose(DiagnoseConfig(folder / f"{name}.onnx", folder / "data.npz", **options))


@pytest.fixture(scope="module")
def overflow(folder: Path) -> Diagnosis:
    return found(folder, "overflow", suggest=True)


def test_the_variance_path_is_named_and_a_rewrite_repairs_it(overflow: Diagnosis) -> None:
    assert overflow.loss > 0.1
    first = next(r for r in overflow.jumps if r.alone is not None and r.alone > 0.1)
    assert (first.tensor, first.op_type) == ("two/pow", "Pow")
    assert first.before < 1e-2
    assert first.likeness.relative == np.inf
    assert first.likeness.nonfinite > 0.1
    assert first.likeness.reference_absmax > 65504
    repaired = {s.name: s.after for s in overflow.suggestions if s.exact}
    assert repaired.keys() == {"fuse-layernorm", "scale-variance"}
    assert max(repaired.values()) < 1e-2


def test_layers_come_in_graph_order_with_onnx_names(overflow: Diagnosis, folder: Path) -> None:
    proto = onnx.load(folder / "overflow.onnx")
    order = [t for n in proto.graph.node for t in n.output]
    assert [r.tensor for r in overflow.layers] == [t for t in order if t in set(order)]
    assert all(r.shape[-1] in (1, SHAPE[-1]) for r in overflow.layers)
    assert {r.precision for r in overflow.layers} == {Precision.FP16}
    assert {r.achieved for r in overflow.layers} == {None}
    assert "truly rounded" in overflow.how


def test_a_jump_is_where_the_difference_arises(overflow: Diagnosis) -> None:
    jumps = {r.tensor for r in overflow.jumps}
    assert "two/pow" in jumps
    assert not {"two/variance", "two/eps", "two/sqrt"} & jumps, "they were handed it"
    assert not {r.tensor for r in overflow.layers if r.tensor.startswith("one")} & jumps


def test_a_mask_constant_is_named_and_clamped(folder: Path) -> None:
    diagnosis = found(folder, "mask", suggest=True)
    (constant,) = diagnosis.constants
    assert constant.absmax == float(np.finfo(np.float32).max)
    assert constant.readers == ("masked",)
    best = diagnosis.suggestions[0]
    assert (best.name, best.exact) == ("clamp-constants", True)
    assert best.fp32 == 0.0


def test_an_underflow_before_a_logarithm_is_named(folder: Path) -> None:
    diagnosis = found(folder, "log")
    (first, *_) = [r for r in diagnosis.jumps if r.op_type == "Log"]
    assert first.likeness.nonfinite > 0
    source = next(r for r in diagnosis.layers if r.tensor == first.reads[0])
    assert source.likeness.subnormal > 0.9


def test_memory_is_bounded_and_changes_nothing(folder: Path) -> None:
    rng = np.random.default_rng(1)
    many = folder / "many.npz"
    np.savez(many, x=rng.normal(0, 1, (4096, *SHAPE[1:])).astype(np.float32))
    sick = folder / "overflow.onnx"
    wide = diagnose(DiagnoseConfig(sick, many, batch=1024))
    tight = diagnose(DiagnoseConfig(sick, many, batch=1024, memory_mb=2))
    assert tight.held_bytes <= 1 << 20 < wide.held_bytes
    for a, b in zip(wide.layers, tight.layers, strict=True):
        # From Python 3.13 on, a dataclass with a NaN does not equal itself.
        np.testing.assert_equal(asdict(a.likeness), asdict(b.likeness))


def test_int8_is_seen_in_the_engine(folder: Path) -> None:
    diagnosis = found(folder, "split", precision=INT8, backend="onnxruntime")
    assert "the engine itself" in diagnosis.how
    assert any("looking inside" in note for note in diagnosis.notes)
    assert 0 < diagnosis.loss < 0.5
    ran = {r.achieved for r in diagnosis.layers if r.precision is INT8}
    assert ran == {INT8}
    assert {r.achieved for r in diagnosis.layers if r.precision is Precision.FP32} == {None}


def test_a_plan_is_compared_as_it_is(folder: Path) -> None:
    plan = folder / "split.plan.json"
    made = precsearch.optimize(
        folder / "split.onnx",
        data=folder / "data.npz",
        tol=0.5,
        threads=1,
        strategy="uniform",
        backend="onnxruntime",
        output=plan,
        run_dir=folder / "run",
    ).plan
    diagnosis = found(folder, "split", plan=plan)
    asked = {g.key: g.precision for g in made.recipe.groups}
    assert {r.group: r.precision for r in diagnosis.layers}.items() <= asked.items()
    assert "split.plan.json" in diagnosis.asked


@pytest.mark.parametrize("name", ODD)
def test_odd_models_are_diagnosed(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(ODD[name](), path)
    for precision in (Precision.FP16, INT8):
        config = DiagnoseConfig(path, None, precision, backend="onnxruntime", suggest=True)
        if name in NUMB:
            with pytest.raises(OptionError, match="nothing in this model can run in"):
                diagnose(config)
            continue
        diagnosis = diagnose(config)
        assert diagnosis.layers
        for layer in diagnosis.layers:
            alike = layer.likeness
            assert alike.reference_absmax >= 0
            assert 0 <= alike.nonfinite <= 1
    assert check_engine(path, None, "onnxruntime", 1).found is None


def test_what_makes_int8_more_accurate_is_suggested_by_name(tmp_path: Path) -> None:
    onnx.save(unequal(), tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(0, 1, (8, CHANNELS, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    diagnosis = found(tmp_path, "model", precision=INT8, backend="onnxruntime", suggest=True)
    best = diagnosis.suggestions[0]
    assert (best.name, best.exact) == ("equalize", True)
    assert best.after < 0.3 * best.before == pytest.approx(0.3 * diagnosis.loss, rel=0.05)
    assert best.model is not None
    ranges = next(s for s in diagnosis.suggestions if s.name == "ranges")
    assert ranges.model is None
    assert ranges.sites


def test_factors_in_front_of_products_are_suggested_for_post_norm_blocks(tmp_path: Path) -> None:
    onnx.save(post_norm(), tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(0, 1, (8, 6, WIDTH)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    diagnosis = found(tmp_path, "model", precision=INT8, backend="onnxruntime", suggest=True)
    smooth = next(s for s in diagnosis.suggestions if s.name == "smooth")
    assert smooth.sites == ("t1/smooth", "t5/smooth")
    assert smooth.after < smooth.before


def test_an_infinite_sample_is_no_proof_that_int8_is_exact(tmp_path: Path) -> None:
    onnx.save(unequal(), tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(0, 1, (8, CHANNELS, 8, 8)).astype(np.float32)
    x[3, 0, 0, 0] = np.inf
    np.savez(tmp_path / "data.npz", x=x)
    with pytest.raises(DataError, match=r"no group can be in INT8: .* NaN or infinity"):
        found(tmp_path, "model", precision=INT8, backend="onnxruntime")


def test_groups_without_a_range_are_shown_in_fp32_and_counted(tmp_path: Path) -> None:
    model = unequal()
    first = model.graph.node[0].output[0]
    model.graph.node.append(helper.make_node("Log", [first], ["log"]))
    ones = np.ones((2, CHANNELS, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(ones, "late"))
    model.graph.node.append(helper.make_node("Conv", ["log", "late"], ["odd"]))
    model.graph.output.append(helper.make_tensor_value_info("odd", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(0, 1, (8, CHANNELS, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    diagnosis = found(tmp_path, "model", precision=INT8, backend="onnxruntime")
    assert any("INT8 is left out of 1 group: " in n and "'odd'" in n for n in diagnosis.notes)
    assert {r.precision for r in diagnosis.layers if r.tensor == "odd"} == {Precision.FP32}
    assert Precision.INT8 in {r.precision for r in diagnosis.layers}
