"""A decoder whose cache grows: which of its steps are timed, and what is reported of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import precsearch
from precsearch.cli.options.parse import parse_shape_sets
from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from tests.e2e.plugins.clocked_backend import here
from tests.odd.models.odd_outputs import WIDTH, cached, saved


def decoder(folder: Path) -> tuple[Path, Path]:
    """A decoder, and steps of it: a prompt without a past, then one token at a time."""
    rng = np.random.default_rng(0)
    data = folder / "steps"
    data.mkdir(exist_ok=True)
    for i in range(20):
        past, seq = ((0, 6), (1, 1), (7, 1), (7, 1), (9, 1))[i % 5]
        arrays: dict[str, Array] = {
            f"past.{t}": rng.standard_normal((1, 4, past, WIDTH // 4)).astype(np.float32)
            for t in ("key", "value")
        }
        arrays["x"] = rng.standard_normal((1, seq, WIDTH)).astype(np.float32)
        np.savez(data / f"{i:02d}.npz", **arrays)  # type: ignore[arg-type]
    return saved(cached, folder), data


def test_of_many_shapes_the_most_frequent_one_is_timed_and_one_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    path, data = decoder(tmp_path)
    plan = precsearch.optimize(
        path,
        data=data,
        tol=0.1,
        threads=1,
        max_builds=2,
        backend="clocked",
        output=tmp_path / "plan.json",
    ).plan
    (timed,) = plan.evidence.latency.by_shape
    assert timed.shapes == {
        "x": (1, 1, WIDTH),
        "past.key": (1, 4, 7, WIDTH // 4),
        "past.value": (1, 4, 7, WIDTH // 4),
    }
    (note,) = [w for w in plan.evidence.warnings if "different shapes" in w]
    assert note.startswith("the feeds have 4 different shapes; timed is x:1x1x32, past.key:1x4x7x8")
    report = precsearch.verify(tmp_path / "plan.json", path, data)
    assert report.latency.by_shape[0].shapes == timed.shapes


def test_shapes_say_which_steps_are_timed_and_a_size_may_be_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    path, data = decoder(tmp_path)
    sets = parse_shape_sets(["x:1x6x32;past.key:1x4x0x8@0.1", "past.key:1x4x9x8;x:1x1x32@0.9"])
    plan = precsearch.optimize(
        path,
        data=data,
        shapes=sets,
        tol=0.1,
        threads=1,
        max_builds=2,
        backend="clocked",
        output=tmp_path / "plan.json",
    ).plan
    prompt, step = plan.evidence.latency.by_shape
    assert prompt.shapes["past.value"] == (1, 4, 0, 8)
    assert step.shapes["past.value"] == (1, 4, 9, 8)
    assert [prompt.weight, step.weight] == pytest.approx([0.1, 0.9])
    assert not [w for w in plan.evidence.warnings if "random numbers" in w]
    assert plan.criteria.data["search_samples"] == 10, "accuracy is that of steps of all shapes"


def test_shapes_that_no_step_has_are_refused_and_another_set_is_timed_on_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    path, data = decoder(tmp_path)
    none, some = parse_shape_sets(["x:1x3x32;past.key:1x4x5x8", "x:1x1x32;past.key:1x4x9x8"])
    out: dict[str, Any] = {
        "data": data,
        "tol": 0.1,
        "threads": 1,
        "max_builds": 2,
        "backend": "clocked",
    }
    with pytest.raises(DataError):
        precsearch.optimize(path, shapes=(none,), output=tmp_path / "a.json", **out)
    plan = precsearch.optimize(path, shapes=(some, none), output=tmp_path / "b.json", **out).plan
    (note,) = [w for w in plan.evidence.warnings if "random numbers" in w]
    assert "accuracy is not judged there" in note


def test_input_shape_chooses_among_steps_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(tmp_path, monkeypatch)
    path, data = decoder(tmp_path)
    plan = precsearch.optimize(
        path,
        data=data,
        input_shapes={"past.key": (1, 4, 0, 8)},
        tol=0.1,
        threads=1,
        max_builds=2,
        backend="clocked",
        output=tmp_path / "plan.json",
    ).plan
    (timed,) = plan.evidence.latency.by_shape
    assert timed.shapes["x"] == (1, 6, 32)
