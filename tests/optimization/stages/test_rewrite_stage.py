"""`optimize --rewrite`: a model that FP16 breaks is repaired before the search, and replayed so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.cli.main import run
from precsearch.core.backend.facts import COMPILED
from precsearch.core.errors import PlanError, ReplayError
from precsearch.core.events import Event, RunStarted, StageStarted
from precsearch.core.precision import Precision
from precsearch.exporters.export import export
from precsearch.graph.reading.read import read_model
from precsearch.optimization.identity import identity
from precsearch.optimization.preview.estimate import dry_run
from precsearch.optimization.run import optimize_events
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.plan.plan import Plan, RewriteRecipe, read_plan
from precsearch.search.journal import read
from precsearch.setup.config import OptimizeConfig
from tests.diagnosis.sick_models import SHAPE, overflowing, underflowing
from tests.hazards.half_backend import Half, install

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine that compiles and takes FP16, and a model whose LayerNorm FP16 breaks."""
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(Half, "facts", COMPILED)
    monkeypatch.chdir(tmp_path)
    onnx.save(overflowing(), "model.onnx")
    np.savez("data.npz", x=np.random.default_rng(0).normal(0, 1, (12, *SHAPE[1:])).astype("f4"))
    return tmp_path


def config(
    rewrite: bool = True, backend: str = "half", model: str = "model.onnx"
) -> OptimizeConfig:
    return OptimizeConfig(
        Path(model), Path("data.npz"), backend=backend, threads=1, max_builds=4, rewrite=rewrite
    )


@pytest.fixture
def plan(place: Path) -> Plan:
    line = "optimize model.onnx --data data.npz --backend half --rewrite --threads 1 --max-builds 4"
    assert run([*line.split(), "--artifact", "fast.onnx", "-o", "model.plan.json"]) == 0
    assert (place / "fast.onnx").is_file()
    return read_plan("model.plan.json")


def test_the_plan_names_its_rewrite_and_replays_it_byte_for_byte(plan: Plan) -> None:
    (rewrite,) = plan.recipe.rewrites
    assert rewrite.name in ("fuse-layernorm", "scale-variance")
    assert plan.recipe.model_sha256 == read_model("model.onnx").digest
    assert any(f"rewritten by {rewrite.name} (nodes: " in said for said in plan.evidence.warnings)
    assert plan.evidence.accuracy.loss < 1e-2
    assert run(["build", "model.plan.json", "-o", "again.onnx"]) == 0
    assert Path("again.onnx").read_bytes() == Path("fast.onnx").read_bytes()
    export("model.plan.json", None, "polygraphy", "exported")
    (model,) = Path("exported").glob("*.onnx")
    assert model.read_bytes() == Path("fast.onnx").read_bytes()
    # Against the model as it was given, not as it was rewritten.
    assert precsearch.verify("model.plan.json", "model.onnx", "data.npz").loss < 1e-2


def test_a_plan_is_not_replayed_with_other_rewrites(plan: Plan) -> None:
    def replayed(*rewrites: RewriteRecipe) -> None:
        recipe = dataclasses.replace(plan.recipe, rewrites=rewrites)
        text = dataclasses.replace(plan, recipe=recipe).to_json()
        Path("other.json").write_text(text)
        precsearch.build("other.json", "model.onnx", "other.onnx")

    (rewrite,) = plan.recipe.rewrites
    with pytest.raises(ReplayError, match="groups the model's layers differently"):
        replayed()
    with pytest.raises(ReplayError, match="the plan's rewrite 'merge-scales' fits nowhere in this"):
        replayed(rewrite, RewriteRecipe("merge-scales"))
    with pytest.raises(PlanError, match="there is no rewrite 'sleep'"):
        replayed(RewriteRecipe("sleep"))
    replayed(rewrite)


def test_without_the_rewrite_fp16_everywhere_misses_the_bound(place: Path) -> None:
    repaired, inputs, (said,) = open_rewritten(config(), read_model("model.onnx"))
    plain, _, nothing = open_rewritten(config(rewrite=False), read_model("model.onnx"))
    assert said.startswith("rewritten by ")
    assert (nothing, plain.rewrites) == ((), ())
    assert repaired.reference_model is plain.reference_model is None, "the file itself"
    assert repaired.digest != plain.digest == plain.source.digest
    names = (identity(config(), target, inputs)["rewrites"] for target in (repaired, plain))
    assert next(names) != next(names) == "[]"
    assert dry_run(config()).groups == len(repaired.space.groups) != len(plain.space.groups)


def test_two_identical_runs_find_the_same_rewrites(place: Path) -> None:
    first, second = (open_rewritten(config(), read_model("model.onnx"))[0] for _ in range(2))
    assert first.rewrites == second.rewrites != ()
    proto = first.source.proto.SerializeToString(deterministic=True)
    assert proto == second.source.proto.SerializeToString(deterministic=True)


def test_a_run_reports_that_it_tries_rewrites_also_when_it_is_resumed(place: Path) -> None:
    def begun(given: OptimizeConfig) -> list[Event]:
        events = optimize_events(dataclasses.replace(given, run_dir=place / "run"))
        first: list[Event] = []
        while not any(isinstance(e, RunStarted) for e in first):
            first.append(next(events))
        events.close()
        return first

    for resume in (False, True):
        looked, _ = begun(dataclasses.replace(config(), resume=resume))
        assert isinstance(looked, StageStarted)
        assert looked.stage == "rewrite"
        assert isinstance(read(place / "run")[0], RunStarted)
    for given in (config(rewrite=False), config(backend="onnxruntime")):
        assert len(begun(dataclasses.replace(given, force=True))) == 1


def test_without_a_helpful_rewrite_the_run_says_so(place: Path) -> None:
    target, _, said = open_rewritten(config(backend="onnxruntime"), read_model("model.onnx"))
    assert Precision.FP16 not in target.space.precisions
    assert (said[0].startswith("--rewrite does nothing here"), target.rewrites) == (True, ())
    onnx.save(underflowing(), "under.onnx")
    target, _, said = open_rewritten(config(model="under.onnx"), read_model("under.onnx"))
    assert (said[0].startswith("--rewrite found no rewrite that helps"), target.rewrites) == (
        True,
        (),
    )


def test_a_model_with_two_nodes_of_one_name_still_gives_the_reference(place: Path) -> None:
    model = overflowing()
    model.graph.node[1].name = model.graph.node[0].name
    onnx.save(model, "model.onnx")
    target, _, (said,) = open_rewritten(config(), read_model("model.onnx"))
    assert said.startswith("rewritten by ")
    assert isinstance(target.reference_model, bytes), "ONNX Runtime refuses the file"
