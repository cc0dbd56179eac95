"""Where samples come from beside one file: folders, scripts, random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precsearch.core.errors import DataError
from precsearch.data import InputSpec, load
from tests.data.data_files import F4, IMAGE, STATE, TEXT, rows, save


def test_a_folder_holds_one_feed_per_file(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path, f"{i}.npz", x=rows(2) + i, labels=np.arange(2), __ref__y=rows(2))
    (tmp_path / "notes.txt").write_text("mine")
    data = load(tmp_path, IMAGE)
    assert data.sizes == (2, 2, 2)
    assert [f["x"][0, 0] for f in data.feeds] == [0, 1, 2]
    (tmp_path / "3.json").write_text("[]")
    with pytest.raises(DataError, match="both"):
        load(tmp_path, IMAGE)


def test_a_folder_counts_against_the_limit_as_a_whole(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path, f"{i}.npz", x=rows(1000))
    with pytest.raises(DataError, match="limit"):
        load(tmp_path, IMAGE, limit=40_000)


def test_missing_or_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        load(tmp_path / ("long" * 1000), IMAGE)
    for name, message in (("none.npz", "no data file"), ("empty", "no .npz"), ("a.csv", "Polyg")):
        path = tmp_path / name
        if name == "empty":
            path.mkdir()
        elif name == "a.csv":
            path.write_text("1,2")
        with pytest.raises(DataError, match=message):
            load(path, IMAGE)


SCRIPTS = {
    "import numpy as np\ndef load_data():\n    yield {'x': np.ones((1, 3), 'f4')}": None,
    "def load_data():\n    return [{'x': [[1.0, 2.0, 3.0]]}] * 4": None,
    "def load_data(:": "SyntaxError",
    "import nowhere_to_be_found": "No module",
    "x = 1": "no function 'load_data'",
    "import sys\nsys.exit(3)": "SystemExit",
    "def load_data():\n    raise KeyError('k')": "KeyError",
    "def load_data():\n    yield {'x': [[1.0, 2.0, 3.0]]}\n    1 / 0": "ZeroDivisionError",
    "def load_data():\n    return {'x': [1]}": "returned a dict",
    "def load_data():\n    return 5": "returned a int",
    "def load_data():\n    yield 5": "is a int",
    "def load_data():\n    yield {5: [1]}": "yield dictionaries",
    "def load_data():\n    yield {'x': [object()]}": "not an array of numbers",
    "def load_data():\n    yield {'x': [[1], [1, 2]]}": "failed: ValueError",
    "def load_data():\n    return []": "no samples",
    "def load_data():\n    while True: yield {'x': [[1.0, 2.0, 3.0]]}": "more than",
}


@pytest.mark.parametrize(("text", "message"), SCRIPTS.items())
def test_scripts_yield_feeds(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "data.py"
    path.write_text(text)
    if message is None:
        assert load(path, IMAGE).samples in (1, 4)
        return
    with pytest.raises(DataError, match=message):
        load(path, IMAGE, limit=10_000)


def test_a_script_may_fill_one_buffer_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "data.py"
    path.write_text(
        "import numpy as np\n"
        "def load_data():\n"
        "    x = np.zeros((1, 3), 'f4')\n"
        "    for i in range(3):\n"
        "        x[:] = i\n"
        "        yield {'x': x}\n"
    )
    assert [f["x"][0, 0] for f in load(path, IMAGE).feeds] == [0, 1, 2]


def test_without_data_the_numbers_are_random_and_say_so() -> None:
    data = load(None, TEXT, seed=3)
    assert data.random
    assert data.feeds[0]["ids"].shape == (1, 16)
    assert "'sequence' is taken as 16" in data.notes[0]
    assert data.feeds[0]["mask"].all()
    assert min(int(f["ids"].min()) for f in data.feeds) >= 0
    assert data.digest == load(None, TEXT, seed=3).digest != load(None, TEXT, seed=4).digest
    # Pinned, since a plan names the digest of its data.
    assert load(None, IMAGE).digest.startswith("90672a8a9a4d")


def test_random_data_follow_batch_and_input_shape() -> None:
    assert load(None, STATE, batch=3).feeds[0]["state"].shape == (2, 3, 4)
    assert load(None, STATE, batch=3).sizes == (3,) * 16
    assert load(None, STATE, shapes={"x": (5, 3)}).feeds[0]["state"].shape == (2, 5, 4)
    image = (InputSpec("x", F4, ("n", 3, "height", "width")),)
    with pytest.raises(DataError, match="--input-shape x:1x3xNxN"):
        load(None, image)
    assert load(None, image, shapes={"x": (2, 3, 8, 8)}).sizes == (2,) * 16
    with pytest.raises(DataError, match="declares no shape"):
        load(None, (InputSpec("x", F4, None),))


@given(st.sampled_from([np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_]))
def test_random_data_of_every_type_are_valid(dtype: type[np.generic]) -> None:
    data = load(None, (InputSpec("x", np.dtype(dtype), (1, 50)),))
    values = np.concatenate([f["x"] for f in data.feeds]).astype(np.float64)
    assert data.feeds[0]["x"].dtype == dtype
    assert np.isfinite(values).all()
    assert len(np.unique(values)) > 1
