"""A backend for tests whose engines take long to build, by its own word, and which notes each."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.core.backend.facts import COMPILED
from tests.hazards.half_backend import ByName
from tests.plugin import make_known

__all__ = ["NAME", "Noting", "built", "here"]

NAME = "noting"
_FILE = "PRECSEARCH_TEST_BUILDS"


class Noting(ByName):
    """FP16 by name beside INT8, on ONNX Runtime, which computes FP16 in FP32."""

    name = NAME
    facts = replace(COMPILED, clock_ramps_up=False)

    def build(self, model: bytes) -> bytes:
        with Path(os.environ[_FILE]).open("a", encoding="ascii") as file:
            file.write(hashlib.sha256(model).hexdigest() + "\n")
        return super().build(model)


def here(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make it known to this process and its workers."""
    place = folder / "noting"
    place.mkdir()
    patch.setenv(_FILE, str(folder / "builds"))
    make_known(place, "noting", {NAME: f"{__name__}:{Noting.__name__}"})
    patch.syspath_prepend(str(place))


def built() -> list[str]:
    """A digest for each engine that was built, in their order."""
    file = Path(os.environ[_FILE])
    return file.read_text().splitlines() if file.exists() else []
