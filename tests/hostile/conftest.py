"""What the tests of messages share."""

from __future__ import annotations

import shutil

import pytest

from tests.hostile.situations.cases import CASES
from tests.hostile.situations.throw import throw
from tests.hostile.situations.world import write_world


@pytest.fixture(scope="session")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the command line says in each hostile situation."""
    world = write_world(tmp_path_factory.mktemp("world"))
    found = {}
    for number, case in enumerate(CASES):
        folder = tmp_path_factory.mktemp(f"case{number}") / "here"
        shutil.copytree(world, folder)
        found[str(case)] = throw(case, folder).err.removeprefix("error: ").removesuffix("\n")
    return found
