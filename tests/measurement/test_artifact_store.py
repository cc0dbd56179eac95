"""Engines on disk: what is kept, what goes first, and what never does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.measurement.artifact_store import Artifact, ArtifactStore

KEYS = ("a", "b", "c", "d", "e")


def aged(folder: Path, *digests: str) -> None:
    """Give the engines times of use, the first the oldest."""
    for at, digest in enumerate(digests):
        os.utime(folder / f"{digest}.engine", (1e9 + at, 1e9 + at))


def test_an_engine_comes_back_as_it_was(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "engines")
    assert store.get("a") is None
    assert store.put("a", b"engine of a", b"its notes")
    kept = Artifact(b"engine of a", b"its notes")
    assert store.get("a") == kept
    assert ArtifactStore(tmp_path / "engines").get("a") == kept, "in another process, too"


def test_the_least_recently_used_engine_goes_first(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, budget=450)
    for digest in "abc":
        store.put(digest, b"x" * 100)
    aged(tmp_path, "a", "b", "c")
    assert store.get("a") is not None, "it was used now"
    store.put("d", b"x" * 100)
    kept = [d for d in "abcd" if store.get(d) is not None]
    assert kept == ["a", "c", "d"]


def test_pinned_engines_stay_whatever_the_budget(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, budget=160)
    store.pin(["a", "b"])
    store.put("a", b"x" * 100)
    store.put("b", b"x" * 200)
    store.put("c", b"x" * 100)
    assert store.get("a") is not None
    assert store.get("b") is not None
    store.pin(["b"])
    aged(tmp_path, "a", "b")
    store.put("c", b"x" * 100)
    assert store.get("a") is None
    assert store.get("b") is not None


def test_an_engine_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, budget=100)
    store.put("a", b"x" * 20)
    assert not store.put("b", b"x" * 61)
    assert store.get("a") is not None, "nothing had to go for it"


def test_a_damaged_engine_counts_as_missing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.put("a", b"engine")
    path = tmp_path / "a.engine"
    path.write_bytes(path.read_bytes()[:-1])
    assert store.get("a") is None
    assert not path.exists()


def test_a_link_in_place_of_an_engine_is_not_followed(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "engines")
    store.put("a", b"engine")
    path = tmp_path / "engines" / "a.engine"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.get("a") is None


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = ArtifactStore(tmp_path / "file" / "engines")
    assert not store.put("a", b"engine")
    assert store.get("a") is None


@pytest.mark.parametrize("digest", ["../evil", "a/b", "timed like any other engine"])
def test_a_digest_is_a_label_and_no_path(tmp_path: Path, digest: str) -> None:
    store = ArtifactStore(tmp_path / "engines")
    store.put(digest, b"engine")
    assert store.get(digest) == Artifact(b"engine")
    assert {p.name for p in tmp_path.iterdir()} == {"engines"}


def test_a_temporary_store_leaves_nothing_behind() -> None:
    store = ArtifactStore(None)
    store.put("a", b"engine")
    folder = store._folder
    store.close()
    store.close()
    assert not folder.exists()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 80)), max_size=12),
    st.sets(st.sampled_from(KEYS), max_size=2),
)
def test_the_budget_holds_for_all_that_is_not_pinned(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[str, int]], pinned: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("engines")
    store = ArtifactStore(folder, budget=300)
    store.pin(pinned)
    for digest, size in puts:
        assert store.put(digest, b"x" * size)
        assert store.get(digest) == Artifact(b"x" * size), "the newest is always there"
        loose = [p for p in folder.glob("*.engine") if p.stem not in pinned]
        total = sum(p.stat().st_size for p in folder.glob("*.engine"))
        assert total <= 300 or loose == [folder / f"{digest}.engine"] or not loose
    for digest in pinned & {d for d, _ in puts}:
        assert store.get(digest) is not None
