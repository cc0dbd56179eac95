"""`build` for a backend that compiles: the engine is built anew, compared, and written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from precsearch import api
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import Backend, BackendOptions, Fingerprint
from precsearch.core.backend.facts import COMPILED
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision
from precsearch.plan.plan import Plan, read_plan
from tests.backends.trt.stand_in.plans import write_plan
from tests.graph.small_graphs import gemm_head

HERE = Fingerprint("onnxruntime", {"compiler": "2"}, "this machine", ("wide",))
ROOT = Path(__file__).parents[2]
KERNELS = ("gemm 12x8", "relu", "gemm 8x4")


class Compiling(OnnxRuntimeBackend):
    """Its engine is the model after a word, made of the same three kernels each time."""

    name = "onnxruntime"
    precisions = frozenset(Precision)
    facts = COMPILED

    def fingerprint(self) -> Fingerprint:
        return HERE

    def build(self, model: bytes) -> bytes:
        return b"engine of " + model

    def layer_summary(self, engine: bytes) -> tuple[str, ...]:
        assert engine.startswith(b"engine of ")
        return KERNELS


class Refusing(Compiling):
    """Builds nothing."""

    def build(self, model: bytes) -> bytes:
        raise BuildError("no kernel takes this")


class Factory:
    """Picklable, for the worker."""

    def __init__(self, kind: type[Compiling]) -> None:
        self.kind = kind

    def __call__(self, options: BackendOptions) -> Backend:
        return self.kind(options)


def planned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Compiling] = Compiling, **said: Any
) -> Path:
    """A plan whose evidence is of this machine and these kernels, but for what is said."""
    path = write_plan(folder, gemm_head(), "typed", {})
    plan = read_plan(path)
    evidence = replace(plan.evidence, **{"fingerprint": HERE, "engine": KERNELS, **said})
    path.write_text(Plan(plan.recipe, plan.criteria, evidence).to_json(), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'strategies'}")
    monkeypatch.setattr("precsearch.setup.target.backend_factory", lambda _: Factory(kind))
    return path


def test_the_engine_is_written_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, monkeypatch)
    model = api.build(plan, None, tmp_path / "lowered.onnx")
    report = api.build(plan, None, tmp_path / "small.engine")
    written = (tmp_path / "small.engine").read_bytes()
    assert written == b"engine of " + (tmp_path / "lowered.onnx").read_bytes()
    assert report.size == len(written)
    assert report.sha256 == hashlib.sha256(written).hexdigest() != model.sha256
    assert (report.verdict, report.lines) == ("identical", ())


def test_the_same_kernels_elsewhere_are_equivalent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Fingerprint("onnxruntime", {"compiler": "1", "driver": "9"}, "another", ())
    plan = planned(tmp_path, monkeypatch, fingerprint=there)
    report = api.build(plan, None, tmp_path / "small.engine")
    assert report.verdict == "equivalent"
    assert report.lines == (
        "the plan was measured on another, this is this machine",
        "the plan was measured with no known CPU features, here there is wide",
        "compiler is 2 here, 1 in the plan",
        "driver is missing here, 9 in the plan",
    )


def test_other_kernels_are_counted_and_to_be_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ("gemm 12x8 fused with relu", "gemm 8x4")
    plan = planned(tmp_path, monkeypatch, engine=before)
    report = api.build(plan, None, tmp_path / "small.engine")
    assert report.verdict == "same plan, other kernels"
    assert report.lines == (
        "2 of 3 layers are built otherwise: gemm 12x8; relu",
        "measure it with 'precsearch verify --artifact FILE'",
    )
    assert (tmp_path / "small.engine").exists()


def test_an_engine_that_does_not_build_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(tmp_path, monkeypatch, Refusing)
    with pytest.raises(BuildError, match="no kernel takes this"):
        api.build(plan, None, tmp_path / "small.engine")
    assert not (tmp_path / "small.engine").exists()
    with pytest.raises(BuildError, match="no kernel takes this"):
        api.verify(plan)
