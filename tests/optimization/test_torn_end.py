"""A run that is killed while it writes its outputs is finished by --resume without measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch import api
from precsearch.setup import files
from tests.e2e.plugins.clocked_backend import diary, here
from tests.optimization.unequal import searched, unequal
from tests.rewrites.scalable_models import CHANNELS

OUTPUTS = ("model.plan.json", "model.evidence.json")


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    onnx.save(unequal(), "model.onnx")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(0, 1, (16, CHANNELS, 8, 8)).astype(np.float32))
    return tmp_path


def test_a_kill_between_plan_and_evidence_costs_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = files._place

    def killed_before(target: Path, *args: Any, **more: Any) -> None:
        if target.name in waiting:
            raise Killed
        written(target, *args, **more)

    monkeypatch.setattr(files, "_place", killed_before)
    options: dict[str, Any] = {"corrections": (), "force": False}
    for torn in OUTPUTS:  # the second run goes on where the first one was killed
        waiting = {torn}
        with pytest.raises(Killed):
            searched(**options)
        did = len(diary(place / "clocked" / "diary"))
        options["resume"] = True
        there = [name for name in OUTPUTS if Path(name).exists()]
        assert there == list(OUTPUTS[: OUTPUTS.index(torn)])
    assert api.load_plan(OUTPUTS[0]).notes, "its evidence is missing, and that is said"
    waiting = set()
    plan = searched(**options)
    assert api.load_plan(OUTPUTS[0]) == plan
    assert api.load_plan(OUTPUTS[0]).notes == ()
    assert len(diary(place / "clocked" / "diary")) == did, "nothing was built or timed again"
    kept = [Path(name).read_bytes() for name in OUTPUTS]
    searched(**options)
    assert [Path(name).read_bytes() for name in OUTPUTS] == kept
