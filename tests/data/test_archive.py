"""Hostile archives: whatever the bytes, a `DataError` of one sentence or arrays, never more."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from precsearch.core.backend import Array
from precsearch.core.errors import DataError
from precsearch.data import InputSpec, load
from precsearch.data.archive import read_npy, read_npz

SPECS = (InputSpec("x", np.dtype(np.float32), ("batch", 3)),)


def npz(**arrays: Array) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def read(data: bytes, limit: int = 1 << 20) -> dict[str, Array]:
    return read_npz(io.BytesIO(data), "'d.npz'", limit)


def assert_refused_or_read(attempt: Callable[[], object]) -> None:
    message = ""
    try:
        attempt()
    except DataError as error:
        message = str(error)
    assert "\n" not in message


def header(shape: str, descr: str = "'<f4'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(d) for d in ("<f4", "<i8", "?", ">f4", "<U3")]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
    ),
    st.booleans(),
)
def test_arrays_survive(array: Array, fortran: bool) -> None:
    found = read(npz(x=np.asfortranarray(array) if fortran and array.ndim else array))["x"]
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


BASE = npz(x=np.arange(12, dtype=np.float32).reshape(4, 3), labels=np.arange(4))


@given(st.integers(0, len(BASE) - 1))
def test_a_truncated_archive_is_refused(length: int) -> None:
    with pytest.raises(DataError, match="save it again"):
        read(BASE[:length])


@settings(max_examples=500)
@given(st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), min_size=1))
def test_changed_bytes_never_give_a_traceback(changes: list[tuple[int, int]]) -> None:
    data = bytearray(BASE)
    for at, value in changes:
        data[at] = value
    assert_refused_or_read(lambda: read(bytes(data)))


@settings(max_examples=300)
@given(st.integers(0, 200), st.integers(0, 255), st.binary(max_size=20))
def test_changed_headers_never_give_a_traceback(at: int, value: int, tail: bytes) -> None:
    # Without the archive around it no checksum catches the change.
    data = bytearray(npy(np.arange(6, dtype=np.float32)) + tail)
    data[at % len(data)] = value
    assert_refused_or_read(lambda: read_npy(io.BytesIO(data), len(data), "it"))


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        read(data)
    with pytest.raises(DataError):
        read(zipped({"x.npy": data}))


HOSTILE = {
    "pickled object": npz(x=np.array([[1], [1, 2]], dtype=object)),
    "huge claim": zipped({"x.npy": header("(1 << 40,)".replace("1 << 40", str(1 << 40)))}),
    "impossible axis": zipped({"x.npy": header(f"(0, {1 << 70})")}),
    "number of 8000 digits": zipped({"x.npy": header("(" + "9" * 4000 + ",) * 2")}),
    "product of 8000 digits": zipped({"x.npy": header(f"({'9' * 4000}, {'9' * 4000})")}),
    "huge claim in many axes": zipped({"x.npy": header(str((1 << 40,) * 30))}),
    "negative shape": zipped({"x.npy": header("(-1,)") + b"1234"}),
    "shape of text": zipped({"x.npy": header("('a',)")}),
    "code in the header": zipped({"x.npy": header("__import__('os').getcwd()")}),
    "deep header": zipped({"x.npy": header("(" * 2000)}),
    "unknown version": zipped({"x.npy": header("(1,)", version=b"\x09\x00") + b"1234"}),
    "too little data": zipped({"x.npy": header("(2,)") + b"1234"}),
    "too much data": zipped({"x.npy": header("(1,)") + b"12345678"}),
    "elements of no size": zipped({"x.npy": header("(3,)", "'|V0'")}),
    "no array": zipped({"readme.txt": b"hello"}),
    "a folder": zipped({"x/": b""}),
    "twice the same name": zipped({"x.npy": npy(np.ones(3)), "x": npy(np.ones(3))}),
    "a bomb": zipped({"x.npy": bytes(1 << 21)}, zipfile.ZIP_DEFLATED),
    "many small bombs": zipped(
        {f"{i}.npy": npy(np.zeros(1 << 15)) for i in range(9)}, zipfile.ZIP_DEFLATED
    ),
    "an encrypted entry": zipped({"x.npy": npy(np.ones(3))})
    .replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
    .replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
    "nothing": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_archives_are_refused(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        read(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [f"(0, {1 << 70})", f"({'9' * 4000}, {'9' * 4000})"])
def test_impossible_headers_are_refused_outside_of_archives_too(shape: str) -> None:
    data = header(shape)
    with pytest.raises(DataError):
        read_npy(io.BytesIO(data), len(data), "it")


def test_a_pickle_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="never unpickled"):
        read(HOSTILE["pickled object"])


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(DataError, match="limit of 1,048,576"):
        read(HOSTILE["a bomb"])


def test_a_lying_directory_does_not_unpack_more_than_it_claims() -> None:
    data = zipped({"x.npy": bytes(1 << 21)}, zipfile.ZIP_DEFLATED)
    size = (1 << 21).to_bytes(4, "little")
    with pytest.raises(DataError):
        read(data.replace(size, (100).to_bytes(4, "little")))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.binary(max_size=100), suffix=st.sampled_from([".npz", ".json", ".txt", ".npy"]))
def test_no_file_gives_a_traceback(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataError):
        load(path, SPECS)
