"""Whatever the bytes, a reader gives a value or an `InputError` of one line: 12,000 cases."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from precsearch.api import build
from precsearch.core.errors import InputError, ReplayError
from precsearch.data import InputSpec, input_specs, load
from precsearch.graph.reading.read import read_model
from precsearch.plan.plan import Plan, read_plan
from precsearch.search import journal
from precsearch.setup.target import open_target
from tests.hostile.situations.mutate import mutated_bytes, mutated_json, mutated_model
from tests.hostile.situations.plan_cases import digest_of
from tests.hostile.situations.world import data_bytes, journal_bytes, model, write_world

SPECS = (InputSpec("x", np.dtype(np.float32), ("batch", 1, 8, 8)),)
SAMPLES: dict[str, np.ndarray] = {
    "x": np.ones((3, 1, 8, 8), np.float32),
    "labels": np.arange(3),
    "__ref__y": np.ones((3, 3), np.float32),
}


def fuzz(cases: int) -> settings:
    return settings(
        max_examples=cases,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("fuzz"))


def refused_or_fine(attempt: Callable[[], object], *others: type[Exception]) -> None:
    said = ""
    try:
        attempt()
    except InputError as error:
        said = str(error)
    except others as error:
        said = str(error)
    assert len(said) < 5000


def test_plans_with_changed_bytes(world: Path) -> None:
    valid = (world / "plan.json").read_bytes()
    path = world / "changed.json"

    @fuzz(2500)
    @given(mutated_bytes(valid))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refused_or_fine(lambda: read_plan(path))

    check()


def test_plans_with_changed_values(world: Path) -> None:
    valid = json.loads((world / "plan.json").read_text())

    @fuzz(2500)
    @given(mutated_json(valid))
    def check(document: object) -> None:
        refused_or_fine(lambda: Plan.from_json(json.dumps(document)))

    check()


def test_forged_plans_build_or_are_refused(world: Path) -> None:
    valid = json.loads((world / "plan.json").read_text())
    path = world / "forged.json"

    @fuzz(800)
    @given(mutated_json(valid["recipe"]))
    def check(recipe: object) -> None:
        try:
            digest = digest_of(recipe, valid["criteria"])
        except ValueError:
            return
        path.write_text(json.dumps({**valid, "recipe": recipe, "digest": digest}))
        output = world / "built.onnx"
        attempt = lambda: build(path, world / "model.onnx", output, force=True)  # noqa: E731
        refused_or_fine(attempt, ReplayError)

    check()


def opened(path: Path) -> None:
    target = open_target(read_model(path), "onnxruntime", None, "group", 1)
    input_specs(target.graph.inputs)


def test_models_with_changed_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    @fuzz(1500)
    @given(mutated_bytes(model().SerializeToString()))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refused_or_fine(lambda: opened(path))

    check()


def test_models_with_changed_fields(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    @fuzz(700)
    @given(mutated_model(model()))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refused_or_fine(lambda: opened(path))

    check()


def test_archives_with_changed_bytes(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"

    @fuzz(2000)
    @given(mutated_bytes(data_bytes(**SAMPLES)))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        refused_or_fine(lambda: load(path, SPECS, outputs=("y",)))

    check()


DTYPES = ["f2", "f4", "f8", "i1", "u8", "?", "c8", "S3", "U2", "M8[s]", "V4", ">f4", "f4,i2"]


@st.composite
def odd_arrays(draw: st.DrawFn) -> dict[str, np.ndarray]:
    names = draw(st.lists(st.sampled_from(["x", "labels", "__ref__y", "__ref__", "q", ""])))
    shapes = st.lists(st.sampled_from([0, 1, 3, 8]), max_size=5)
    return {n: np.zeros(draw(shapes), draw(st.sampled_from(DTYPES))) for n in {*names, "x"}}


def test_archives_of_odd_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"

    @fuzz(500)
    @given(odd_arrays(), st.integers(1, 4))
    def check(arrays: dict[str, np.ndarray], batch: int) -> None:
        path.write_bytes(data_bytes(**arrays))
        refused_or_fine(lambda: load(path, SPECS, batch=batch, outputs=("y",)))

    check()


def polygraphy(npy: bytes) -> list[dict[str, dict[str, str]]]:
    encoded = base64.b64encode(npy).decode()
    return [{"x": {"array": encoded, "polygraphy_class": "ndarray"}}]


def test_polygraphy_inputs_with_changes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, SAMPLES["x"][:1])
    npy = stream.getvalue()
    path = tmp_path / "data.json"

    @fuzz(800)
    @given(st.one_of(mutated_json(polygraphy(npy)), mutated_bytes(npy).map(polygraphy)))
    def check(document: object) -> None:
        path.write_text(json.dumps(document))
        refused_or_fine(lambda: load(path, SPECS))

    check()


def test_journals_with_changed_bytes(world: Path) -> None:
    line = journal_bytes(world)
    run = world / "run"
    run.mkdir()

    @fuzz(700)
    @given(mutated_bytes(line * 2))
    def check(content: bytes) -> None:
        (run / journal.NAME).write_bytes(content)

        def attempt() -> None:
            list(journal.read(run))
            journal.Journal.open(run, {}, resume=True).close()

        refused_or_fine(attempt)

    check()
