"""Inner tensors of a compiled engine are read from engines cut at a few of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import Backend, BackendOptions
from precsearch.core.backend.facts import COMPILED
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.diagnosis.cut_engine import AT_ONCE
from precsearch.diagnosis.result import Diagnosis
from tests.diagnosis.sick_models import SHAPE, WIDTH, overflowing, split_scales

ROOT = Path(__file__).parents[2]


class Compiled(OnnxRuntimeBackend):
    """Keeps every model that it builds in the folder of its option `log`."""

    name = "compiled"
    precisions = frozenset(Precision)
    facts = COMPILED

    def __init__(self, options: BackendOptions) -> None:
        self._log = Path(options.build["log"])
        super().__init__(BackendOptions(options.threads, options.model_folder, options.shapes))

    def build(self, model: bytes) -> bytes:
        built = self._changed(onnx.ModelProto.FromString(model)).SerializeToString()
        (self._log / f"{len(list(self._log.iterdir())):03}.onnx").write_bytes(model)
        return super().build(bytes(built))

    def _changed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return model


class Doubling(Compiled):
    """Doubles a weight wherever nobody looks at the tensor 'u', as a fusion might."""

    def _changed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        shown = {n.input[0] for n in model.graph.node if n.op_type == "Cast" and "cut" in n.name}
        if not any(t.split("//")[0] == "u" for t in shown):
            maker = next(n for n in model.graph.node if n.name.split("//")[0] == "d/matmul")
            weight = next(w for w in model.graph.initializer if w.name == maker.input[1])
            array = onnx.numpy_helper.to_array(weight) * 2
            weight.CopyFrom(onnx.numpy_helper.from_array(array.astype(array.dtype), weight.name))
        return model


class Picky(Compiled):
    """Refuses engines that are cut at 'residual', or all of them."""

    def _changed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        cuts = {n.input[0].split("//")[0] for n in model.graph.node if "cut" in n.name}
        if "residual" in cuts or (self._log / "none").exists():
            raise BuildError("no tactic")
        return model


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "built").mkdir()
    feed = np.random.default_rng(0).normal(0, 1, (4, *SHAPE[1:])).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=feed)
    return tmp_path / "built"


def seen(
    folder: Path, kind: type[Compiled], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Diagnosis:
    model: onnx.ModelProto = options.pop("model", None) or split_scales()
    onnx.save(model, folder / "model.onnx")

    def of(_: str) -> Any:
        return _Factory(kind, str(folder / "built"))

    monkeypatch.setattr("precsearch.setup.target.backend_factory", of)
    monkeypatch.setattr("precsearch.diagnosis.look.backend_name", lambda name: name)
    return diagnose(DiagnoseConfig(folder / "model.onnx", folder / "data.npz", batch=2, **options))


class _Factory:
    """Picklable, for the worker."""

    def __init__(self, kind: type[Compiled], log: str) -> None:
        self.kind, self.log = kind, log

    def __call__(self, options: BackendOptions) -> Backend:
        build = {"log": self.log}
        shaped = BackendOptions(options.threads, options.model_folder, options.shapes, build)
        return self.kind(shaped)


def outputs(path: Path) -> list[str]:
    return [o.name for o in onnx.load(path).graph.output]


@pytest.mark.parametrize("granularity", ["group", "node"])
def test_few_tensors_are_cut_at_a_time_and_all_are_seen(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, granularity: str
) -> None:
    found = seen(tmp_path, Compiled, monkeypatch, granularity=granularity)
    plain, *cut = sorted(log.iterdir())
    assert len(outputs(plain)) == 1
    assert all(1 <= len(outputs(path)) - 1 <= AT_ONCE for path in cut)
    # The output is taken from the engine as it is.
    assert sum(len(outputs(path)) - 1 for path in cut) == len(found.layers) - 1
    assert len(cut) == -(-len(found.layers) // AT_ONCE)
    assert found.how.startswith("the engine itself, built again for every 8 tensors")
    (said,) = found.notes  # ONNX Runtime leaves a Cast out where nobody looks
    assert said.endswith("(relative L2) at most, no more than rounding does")
    assert found.layers[-1].tensor == "d"
    assert all(r.likeness.relative < 1e-2 and np.isfinite(r.likeness.max_abs) for r in found.layers)
    told = {r.achieved for r in found.layers}
    assert None in told, "what no kernel tells of is not taken for FP32"
    if granularity == "node":
        assert len(found.layers) > 20


def test_quantized_tensors_are_seen_as_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(tmp_path, Compiled, monkeypatch, precision=Precision.INT8)
    rounded = {r.tensor for r in found.layers if 1e-4 < r.likeness.relative < 0.5}
    assert {"t", "u"} & rounded
    assert np.isfinite(found.loss)
    assert found.notes == ("looking inside did not change what the engine gives",)


def test_it_reports_where_added_outputs_repaired_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(tmp_path, Doubling, monkeypatch)
    (said,) = found.notes
    assert "looking inside changed what the engine gives, most by" in said
    assert "what is exposed is fused no more" in said, said
    assert found.loss > 0.5, "of the engine as it is, not of one that looking repaired"


def test_an_engine_that_cannot_be_cut_somewhere_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(tmp_path, Picky, monkeypatch)
    shown = {r.tensor for r in found.layers}
    assert "residual" not in shown
    assert "d" in shown
    assert any("tensors could not be shown" in n and "no tactic" in n for n in found.notes)


class Dying(Compiled):
    """Takes its process with it if cut at 'residual'."""

    def _changed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        if any(
            n.input[0].split("//")[0] == "residual" for n in model.graph.node if "cut" in n.name
        ):
            os._exit(9)
        return model


def test_a_crash_costs_the_tensors_of_one_engine(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = seen(tmp_path, Dying, monkeypatch, granularity="node")
    shown = {r.tensor for r in found.layers}
    assert "residual" not in shown
    assert {"a", "t", "d"} <= shown, "those before and after it"
    assert any(f"{AT_ONCE} tensors could not be shown" in n for n in found.notes)
    assert [len(outputs(p)) for p in sorted(log.iterdir())].count(1) == 2, "built once more"


def test_without_an_engine_it_is_emulated_and_says_so(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log / "none").touch()
    found = seen(tmp_path, Picky, monkeypatch, model=overflowing())
    assert "truly rounded" in found.how
    assert any("does not run here, so that it was emulated: no tactic" in n for n in found.notes)
    assert {r.tensor for r in found.layers if r.jump} >= {"two/pow"}
    assert found.layers[0].shape[-1] == WIDTH
