"""Data that does not fit, or that attacks its reader."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from tests.hostile.situations.throw import Case, Make
from tests.hostile.situations.world import data_bytes

__all__ = ["DATA_CASES", "fits"]

LINE = "optimize model.onnx --tol 0.9 --data d.npz"
F32 = np.float32


def fits(n: int = 4, dtype: type = F32) -> np.ndarray:
    """Samples of the right shape."""
    return np.ones((n, 1, 8, 8), dtype)


def wrote(content: bytes, name: str = "d.npz", line: str = LINE) -> Make:
    """A data file with these bytes."""

    def make(folder: Path) -> str:
        (folder / name).write_bytes(content)
        return line.replace("d.npz", name)

    return make


def arrays(**found: np.ndarray) -> Make:
    """``d.npz`` with these arrays."""
    return wrote(data_bytes(**found))


def script(text: str) -> Make:
    """``d.py`` with this text."""
    return wrote(text.encode(), "d.py")


def polygraphy(document: object) -> Make:
    """``d.json`` with this document."""
    return wrote(json.dumps(document).encode(), "d.json")


def pickled(folder: Path) -> str:
    """An array of objects, whose loading would run code."""
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}, None], object), allow_pickle=True)
    return zipped({"x.npy": stream.getvalue()})(folder)


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Make:
    """``d.npz`` with these entries."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return wrote(stream.getvalue())


def bomb(folder: Path) -> str:
    """Half a kilobyte that says it unpacks to 8 GB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * 100_000)
        archive.writestr("y.npy", b"\0" * 100_000)
    old, new = (n.to_bytes(4, "little") for n in (100_000, 0xFFFFFFF0))
    return wrote(stream.getvalue().replace(old, new))(folder)


def lying_header(folder: Path) -> str:
    """A header that promises a petabyte."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000000,), }"
    text += b" " * (117 - len(text)) + b"\n"
    return zipped({"x.npy": b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text})(folder)


def empty_folder(folder: Path) -> str:
    (folder / "d").mkdir()
    return LINE.replace("d.npz", "d")


def mixed_folder(folder: Path) -> str:
    (folder / "d").mkdir()
    (folder / "d" / "a.npz").write_bytes(data_bytes(x=fits(1)))
    (folder / "d" / "b.json").write_text("{}")
    return LINE.replace("d.npz", "d")


VALID = data_bytes()

DATA_CASES = [
    Case("data", "is missing", lambda _: LINE, "there is no data file or folder 'd.npz'"),
    Case("data", "is empty", wrote(b""), "is not a complete .npz archive"),
    Case("data", "is cut in half", wrote(VALID[: len(VALID) // 2]), "not a complete .npz archive"),
    Case("data", "is text", wrote(b"1, 2, 3"), "is not a complete .npz archive"),
    Case("data", "is the model", lambda _: LINE.replace("d.npz", "model.onnx"), "is not data that"),
    Case("data", "is an empty archive", zipped({}), "lacks 'x'; name the arrays like"),
    Case("data", "names another input", arrays(y=fits()), "lacks 'x'; name the arrays like"),
    Case("data", "has an array too many", arrays(x=fits(), z=fits()), "holds 'z', which is no"),
    Case("data", "is flat", arrays(x=np.ones((4, 64), F32)), "has shape (4, 64)"),
    Case("data", "is too large a picture", arrays(x=np.ones((4, 1, 9, 9), F32)), "(1, 1, 9, 9)"),
    Case("data", "is of doubles of text", arrays(x=np.full((4, 1, 8, 8), "1")), "convert it"),
    Case("data", "is whole numbers", arrays(x=fits(4, np.int64)), "is int64, but the model takes"),
    Case("data", "is complex", arrays(x=fits(4, np.complex64)), "is complex64, but the model"),
    Case(
        "data",
        "holds doubles beyond float",
        arrays(x=fits(4, np.float64) * 1e300),
        "beyond float32",
    ),
    Case("data", "has no samples", arrays(x=fits(0)), "holds no samples; give at least one"),
    Case("data", "lacks labels for some", arrays(x=fits(), labels=np.arange(3)), "'labels' of"),
    Case(
        "data",
        "has references of an unknown output",
        arrays(x=fits(), __ref__q=np.ones((4, 3), F32)),
        "holds '__ref__q', but the model's outputs are y",
    ),
    Case("data", "is pickled", pickled, "holds Python objects, which are never unpickled"),
    Case("data", "is a bomb of 8 GB", bomb, "unpacks to 8,589,934,560 bytes, more than the limit"),
    Case("data", "promises a petabyte", lying_header, "does not have as many bytes as its header"),
    Case("data", "has a member that is no array", zipped({"x.npy": b"PK"}), "is not in NumPy's"),
    Case(
        "data", "is an empty folder", empty_folder, "holds no .npz, no picture and no sound files"
    ),
    Case("data", "is a folder of two kinds", mixed_folder, "holds both .npz and .json files"),
    Case("data", "is a script without load_data()", script("x = 1"), "has no function 'load_data'"),
    Case("data", "is a script that fails", script("def load_data():\n 1/0"), "ZeroDivisionError"),
    Case("data", "is a script that exits", script("raise SystemExit(3)"), "SystemExit: 3"),
    Case("data", "is a script that is no Python", script("def ("), "SyntaxError"),
    Case(
        "data",
        "is a script that yields lists",
        script("def load_data():\n yield [1]"),
        "is a list; yield dictionaries",
    ),
    Case("data", "is JSON of something else", polygraphy({"x": [1]}), "is not an array as"),
    Case("data", "is JSON of a number", polygraphy(3), "is not a dictionary of arrays"),
    Case("data", "is no JSON", wrote(b"{", "d.json"), "is not readable as JSON"),
    Case("data", "is JSON without end", wrote(b"[" * 100_000, "d.json"), "is not readable as JSON"),
    Case(
        "data",
        "is a PyTorch tensor in JSON",
        polygraphy([{"x": {"polygraphy_class": "Tensor", "array": "gASV"}}]),
        "a pickle that is never loaded",
    ),
    Case(
        "data",
        "for calibration is missing",
        lambda _: "optimize model.onnx --data data.npz --calibration c.npz",
        "there is no data file or folder 'c.npz'",
    ),
    Case(
        "data",
        "for the holdout is a pickle",
        lambda f: pickled(f).replace("--data", "--data data.npz --holdout"),
        "never unpickled",
    ),
]
