"""Engines that are expensive to build are built once: by whom, and in which process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.backends.fake import FakeBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.backend.facts import COMPILED
from precsearch.measurement.artifact_store import Artifact
from precsearch.measurement.config import Candidate, MeasurementConfig
from precsearch.measurement.engines import EngineSource
from tests.executors.test_pool import config_of


class Builder(FakeBackend):
    """Counts its builds, and knows more of an engine than the bytes tell."""

    facts = COMPILED

    def __init__(self) -> None:
        super().__init__(BackendOptions())
        self.built: list[bytes] = []
        self.notes: dict[bytes, Mapping[str, str]] = {}

    def build(self, model: bytes) -> bytes:
        self.built.append(model)
        self.notes[b"engine of " + model] = {"said": f"built {len(self.built)}"}
        return b"engine of " + model

    def notes_of(self, artifact: bytes) -> bytes:
        return json.dumps(self.notes[artifact]).encode()

    def learn(self, artifact: bytes, notes: bytes) -> None:
        self.notes[artifact] = json.loads(notes)


ONE = Candidate(b"one", "1", {}, {})


def source(
    backend: FakeBackend, folder: Path, config: MeasurementConfig | None = None
) -> EngineSource:
    return EngineSource(backend, str(folder), config or config_of())


def test_an_engine_is_built_once_also_for_the_process_that_comes_after(tmp_path: Path) -> None:
    first, second = Builder(), Builder()
    before = source(first, tmp_path)
    assert before.built(ONE) == before.built(ONE) == b"engine of one"
    assert source(second, tmp_path).built(ONE) == b"engine of one"
    assert (len(first.built), len(second.built)) == (1, 0)
    assert second.notes == first.notes, "what the builder said comes with it"


@pytest.mark.parametrize("other", ["options", "shapes"])
def test_engines_of_other_options_are_others(tmp_path: Path, other: str) -> None:
    config = config_of()
    changed = (
        replace(config.options, build={"tf32": "false"})
        if other == "options"
        else replace(config.options, shapes=({"x": (1, 2)},))
    )
    backend = Builder()
    source(backend, tmp_path).built(ONE)
    source(backend, tmp_path, replace(config, options=changed)).built(ONE)
    assert len(backend.built) == 2


def test_an_engine_that_the_user_gave_is_never_built_from_its_model(tmp_path: Path) -> None:
    backend = Builder()
    mine = source(backend, tmp_path)
    mine.keep(ONE, Artifact(b"what is shipped"))
    assert mine.built(ONE) == b"what is shipped"
    assert backend.built == []


def test_an_engine_of_another_host_is_taken(tmp_path: Path) -> None:
    there, here = Builder(), Builder()
    sent = source(there, tmp_path / "there").artifact(ONE)
    mine = source(here, tmp_path / "here")
    mine.receive(ONE, sent)
    assert mine.built(ONE) == b"engine of one"
    assert here.built == []
    assert here.notes == there.notes


def test_where_an_engine_is_its_model_nothing_is_kept(tmp_path: Path) -> None:
    mine = source(FakeBackend(BackendOptions()), tmp_path)
    assert mine.built(Candidate(b"{}", "2", {}, {})) == b"{}"
    mine.pin("2")
    assert list(tmp_path.iterdir()) == []
