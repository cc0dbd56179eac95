"""Runs that minimize the size, or keep limits, by made-up times: lower precision is slower here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.core.errors import UnmetError
from tests.e2e.plugins import clocked_backend
from tests.graph.small_layers import GraphBuilder

LOOSE = 0.5


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    clocked_backend.here(tmp_path, monkeypatch)
    monkeypatch.setenv(clocked_backend._SLOWER, "1")
    b = GraphBuilder()
    x = b.input([1, 16], name="x")
    for _ in range(2):
        x = b.op("Relu", b.op("MatMul", x, b.const(b.rng.normal(0, 0.25, (16, 16)))))
    b.output(x)
    onnx.save(b.model(), str(tmp_path / "model.onnx"))
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(16, 16)).astype(np.float32))
    return tmp_path


def search(place: Path, **options: object) -> precsearch.Result:
    return precsearch.optimize(
        place / "model.onnx",
        place / "data.npz",
        tol=LOOSE,
        backend="clocked",
        strategy="uniform",
        corrections=(),
        output=place / "model.plan.json",
        **options,  # type: ignore[arg-type]  # any of them
    )


def test_the_smallest_engine_ships_though_it_is_slower_and_verify_judges_by_what_was_asked(
    place: Path,
) -> None:
    small = search(place, objective="size", max_latency=10.0)
    evidence, criteria = small.plan.evidence, small.plan.criteria
    assert small.plan.recipe.assignment.entries
    assert 0 < evidence.size < evidence.fp32_size
    assert small.speedup < 1
    assert (criteria.objective, criteria.max_seconds, criteria.max_size) == ("size", 10.0, None)
    written = json.loads(small.plan_path.read_text())["criteria"]
    assert written["objective"] == "size"
    assert "max_size" not in written
    report = precsearch.verify(
        small.plan_path, place / "model.onnx", place / "data.npz", max_size=10, max_memory=1
    )
    assert report.artifact_bytes == evidence.size
    assert report.memory_bytes > 1
    assert not report.slower
    assert [said.split(",")[0].split()[1] for said in report.over] == ["has", "needs"]
    assert not report.passed


def test_where_no_engine_is_within_the_limits_nothing_is_written_and_it_says_why(
    place: Path,
) -> None:
    with pytest.raises(UnmetError, match="no engine within the bound on the loss is within") as no:
        search(place, max_memory=1)
    assert "bytes of memory, more than 1; raise --max-memory, or --tol" in str(no.value)
    assert not (place / "model.plan.json").exists()
