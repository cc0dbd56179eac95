"""Polygraphy's JSON inputs, written the way its encoder writes them."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data import InputSpec, load

SPECS = (InputSpec("x", np.dtype(np.float32), ("batch", 3)),)
X = np.arange(3, dtype=np.float32).reshape(1, 3)


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def new(array: Array) -> dict[str, object]:
    return {"array": base64.b64encode(npy(array)).decode(), "polygraphy_class": "ndarray"}


def legacy(array: Array) -> dict[str, object]:
    return {
        "array": base64.b64encode(npy(array)).decode(),
        "__polygraphy_encoded_ndarray": "polygraphy_serialized_json_type",
    }


def latin(array: Array) -> dict[str, object]:
    return {"array": npy(array).decode("latin-1"), "polygraphy_class": "ndarray"}


def archived(array: Array) -> dict[str, object]:
    stream = io.BytesIO()
    np.savez(stream, array)
    return {
        "array": base64.b64encode(stream.getvalue()).decode(),
        "polygraphy_class": "ndarray",
    }


def lazy(array: Array) -> dict[str, object]:
    return {"values": new(array), "polygraphy_class": "LazyArray"}


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("encode", [new, legacy, latin, archived, lazy])
def test_every_encoding_is_read(tmp_path: Path, encode: object) -> None:
    assert callable(encode)
    feeds = [{"x": encode(X + i)} for i in range(3)]
    data = load(write(tmp_path / "inputs.json", feeds), SPECS)
    assert [f["x"].tolist() for f in data.feeds] == [(X + i).tolist() for i in range(3)]


def test_a_single_feed_needs_no_list(tmp_path: Path) -> None:
    assert len(load(write(tmp_path / "inputs.json", {"x": new(X)}), SPECS)) == 1


def test_a_folder_of_feeds_is_read_in_order(tmp_path: Path) -> None:
    for i in range(11):
        write(tmp_path / f"{i:010d}.json", {"x": new(X + i)})
    assert [f["x"][0, 0] for f in load(tmp_path, SPECS).feeds] == list(range(11))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "no samples"),
        ([1], "not a dictionary"),
        ("x", "not a dictionary"),
        ({"lst": [], "polygraphy_class": "RunResults"}, "RunResults, not inputs"),
        ([{"x": [1, 2, 3]}], "not an array"),
        ([{"x": {"array": 5, "polygraphy_class": "ndarray"}}], "not an array"),
        ([{"x": {"tensor": "gAI=", "polygraphy_class": "Tensor"}}], "PyTorch"),
        ([{"x": {"array": "AAAA", "polygraphy_class": "ndarray"}}], "NumPy's format"),
        ([{"x": {"array": "\u20ac", "polygraphy_class": "ndarray"}}], "base64"),
        ([{"x": {"values": 3, "polygraphy_class": "LazyArray"}}], "not an array"),
        ([{"x": new(X)}, {}], "differ"),
        ([{"x": new(X), "y": new(X)}], "no input"),
    ],
)
def test_other_documents_are_refused(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "inputs.json", document), SPECS)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\xff", "1" * 10_000])
def test_broken_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "inputs.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError):
        load(path, SPECS)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(DataError, match="larger than the limit"):
        load(path, SPECS, limit=1 << 20)
