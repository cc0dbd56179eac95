"""Folders of pictures and sounds, and lines of tokens, become what the model takes."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precsearch.core.backend import Array
from precsearch.core.errors import DataError, OptionError
from precsearch.data import InputSpec, load
from precsearch.data.preprocess import parse_preprocess

F32 = np.dtype(np.float32)
PICTURE = InputSpec("image", F32, ("batch", 3, 8, 8))
MEAN_STD = "mean=0.5:0.25:0,std=0.5:0.5:1"


def picture(
    path: Path, height: int = 8, width: int = 8, colour: tuple[int, ...] = (255, 0, 51)
) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.new("RGB", (width, height), (255, 0, 51)).save(path)


def only(folder: Path, spec: InputSpec, steps: str) -> Any:
    (feed,) = load(folder, (spec,), preprocess=steps).feeds
    return feed[spec.name]


def test_pictures_are_scaled_normalized_and_put_channels_first(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png")
    found = only(tmp_path / "d", PICTURE, f"resize=8,{MEAN_STD}")
    assert found.shape == (1, 3, 8, 8)
    np.testing.assert_allclose(found[0, :, 3, 3], [1.0, -0.5, 0.2], atol=1e-6)
    swapped = only(tmp_path / "d", PICTURE, "resize=8,bgr")
    np.testing.assert_allclose(swapped[0, :, 0, 0], [0.2, 0, 1], atol=1e-6)


def test_sides_are_resized_cut_and_filled_up(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png", 20, 40)
    assert only(tmp_path / "d", PICTURE, "resize=10,crop=8").shape == (1, 3, 8, 8)
    assert only(tmp_path / "d", PICTURE, "resize=8x8").shape == (1, 3, 8, 8)
    boxed = only(tmp_path / "d", PICTURE, "letterbox=8")
    np.testing.assert_allclose(boxed[0, :, 0, 0], [114 / 255] * 3, atol=1e-6)
    np.testing.assert_allclose(boxed[0, :, 4, 4], [1, 0, 0.2], atol=1e-6)


def test_the_layout_and_the_type_are_those_of_the_model(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png")
    raw = InputSpec("image", np.dtype(np.uint8), ("batch", 8, 8, 3))
    found = only(tmp_path / "d", raw, "resize=8")
    assert found.dtype == np.uint8
    assert found[0, 0, 0].tolist() == [255, 0, 51]
    gray = InputSpec("image", F32, ("batch", 1, 8, 8))
    assert only(tmp_path / "d", gray, "gray").shape == (1, 1, 8, 8)


def test_folders_of_classes_are_labels(tmp_path: Path) -> None:
    for name in ("cat/1.png", "ant/2.png", "ant/3.jpg"):
        picture(tmp_path / "d" / name)
    data = load(tmp_path / "d", (PICTURE,), preprocess="resize=8")
    assert data.flat_labels is not None
    assert data.flat_labels.tolist() == [0, 0, 1]


def test_pictures_without_steps_are_refused_with_steps_that_fit(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png")
    with pytest.raises(DataError, match=r"--preprocess resize=8x8 for values"):
        load(tmp_path / "d", (PICTURE,))
    (tmp_path / "d/a.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"'a\.png' cannot be read"):
        load(tmp_path / "d", (PICTURE,), preprocess="resize=8")
    with pytest.raises(DataError, match="models of one input"):
        load(tmp_path / "d", (PICTURE, PICTURE), preprocess="resize=8")


def test_pictures_of_unequal_size_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png")
    picture(tmp_path / "d/b.png", 9)
    with pytest.raises(DataError, match=r"'b\.png' gives shape \(3, 9, 8\)"):
        load(tmp_path / "d", (PICTURE,), preprocess="scale=255")
    with pytest.raises(OptionError, match="2 numbers for 3 channels"):
        load(tmp_path / "d", (PICTURE,), preprocess="resize=8x8,mean=0:0")


def sound(path: Path, seconds: float, rate: int = 8000) -> None:
    pytest.importorskip("soundfile")
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.full(int(rate * seconds), 16384, "<i2").tobytes())


def test_sounds_are_cut_and_filled_up_to_a_length(tmp_path: Path) -> None:
    sound(tmp_path / "d/a.wav", 0.5)
    sound(tmp_path / "d/b.wav", 2.0)
    flat = InputSpec("wave", F32, ("batch", None))
    data = load(tmp_path / "d", (flat,), preprocess="rate=8000,seconds=1")
    rows = [f["wave"][0] for f in data.feeds]
    assert [len(r) for r in rows] == [8000, 8000]
    assert rows[0][3999] == pytest.approx(0.5)
    assert rows[0][4000] == 0
    channel = InputSpec("wave", F32, ("batch", 1, None))
    assert load(tmp_path / "d", (channel,), preprocess="seconds=1").feeds[0]["wave"].shape == (
        1,
        1,
        8000,
    )
    with pytest.raises(DataError, match="8000 samples a second, not 16000"):
        load(tmp_path / "d", (flat,), preprocess="rate=16000,seconds=1")


IDS = InputSpec("input_ids", np.dtype(np.int64), ("batch", "seq"))
MASK = InputSpec("attention_mask", np.dtype(np.int64), ("batch", "seq"))


def test_lines_of_token_ids_are_samples(tmp_path: Path) -> None:
    rows = [{"input_ids": [1, 2, 3], "attention_mask": [1, 1, 1], "labels": 2}] * 2
    rows.append({"input_ids": [4], "attention_mask": [1], "labels": 0})
    path = tmp_path / "tokens.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    data = load(path, (IDS, MASK))
    assert [f["input_ids"].tolist() for f in data.feeds] == [[[1, 2, 3]], [[1, 2, 3]], [[4]]]
    assert data.flat_labels is not None
    assert data.flat_labels.tolist() == [2, 2, 0]
    for bad, said in (("{", "line 1"), ("3", "line 1"), ('{"input_ids": ["a"]}', "no numbers")):
        path.write_text(bad)
        with pytest.raises(DataError, match=said):
            load(path, (IDS, MASK))


def stored(folder: Path, array: Array, spec: InputSpec) -> object:
    np.savez(folder / "d.npz", **{spec.name: array})  # type: ignore[arg-type]
    return load(folder / "d.npz", (spec,))


def test_raw_pixels_and_turned_pictures_get_the_right_advice(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 8, 8), np.uint8)
    with pytest.raises(DataError, match=r"raw pixels.*\.astype\('float32'\) / 255"):
        stored(tmp_path, pixels, PICTURE)
    with pytest.raises(DataError, match=r"it is NHWC.*\.transpose\(0, 3, 1, 2\)"):
        stored(tmp_path, np.zeros((2, 8, 8, 3), np.float32), PICTURE)
    last = InputSpec("image", np.dtype(np.uint8), ("batch", 8, 8, 3))
    with pytest.raises(DataError, match=r"it is NCHW.*\.transpose\(0, 2, 3, 1\)"):
        stored(tmp_path, pixels, last)
    with pytest.raises(DataError, match="leave out the scaling"):
        stored(tmp_path, np.zeros((2, 8, 8, 3), np.float32), last)


@pytest.mark.parametrize(
    "steps",
    ["resize", "resize=0", "resize=a", "crop=1x2x3", "bgr=1", "mean=", "std=0", "colour=red",
     "layout=chw", "rate=-1", "seconds=0", "resize=8,resize=9", "scale=1:2"],
)  # fmt: skip
def test_invalid_steps_are_refused(steps: str) -> None:
    with pytest.raises(OptionError, match="--preprocess"):
        parse_preprocess(steps)


def test_steps_are_for_pictures_and_sounds_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", image=np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(OptionError, match="is not; leave it out"):
        load(tmp_path / "d.npz", (PICTURE,), preprocess="resize=8")
