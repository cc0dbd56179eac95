"""An executor is found by the scheme of an address; a plug-in's, too."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from precsearch.api import OptimizeConfig
from precsearch.core.backend import BackendFacts
from precsearch.core.errors import OptionError
from precsearch.executors import open as opening
from precsearch.executors.open import executor_of, executors
from precsearch.executors.process.executor import ProcessExecutor
from precsearch.executors.request import Request
from precsearch.graph.reading.read import read_model
from tests.e2e.command import MODEL
from tests.executors.here import HereExecutor


def open_here(request: Request) -> HereExecutor:
    assert request.address == "here://anywhere"
    return HereExecutor()


def request_of(address: str) -> Request:
    return Request(read_model(MODEL), BackendFacts(), address=address)


def test_without_an_address_processes_of_this_machine_are_started() -> None:
    with executor_of(request_of("")) as made:
        assert isinstance(made, ProcessExecutor)
        assert [d.name for d in made.devices()] == ["cpu"]


def test_a_plug_in_adds_an_executor_by_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = EntryPoint("here", f"{__name__}:open_here", "precsearch.executors")

    def points(**_: Any) -> list[EntryPoint]:
        return [mine]

    monkeypatch.setattr(opening, "entry_points", points)
    assert {"here", "process", "ray", "ssh"} == set(executors())
    with executor_of(request_of("here://anywhere")) as made:
        assert isinstance(made, HereExecutor)


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with (
        pytest.raises(OptionError, match="there is no executor 'moon'; use one of process, ray"),
        executor_of(request_of("moon://base")),
    ):
        pass


def test_an_address_says_where_a_run_computes() -> None:
    assert OptimizeConfig(Path("m")).where == ""
    assert OptimizeConfig(Path("m"), ray="local").where == "ray://local"
    assert OptimizeConfig(Path("m"), target="ssh://h").where == "ssh://h"
