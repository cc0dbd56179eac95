"""From a path to a checked `Dataset`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import DataError, OptionError
from precsearch.data.archive import MAX_BYTES, read_npz
from precsearch.data.check import FeedCheck
from precsearch.data.cut import cut
from precsearch.data.dataset import Dataset
from precsearch.data.lines import read_lines
from precsearch.data.media import media_files, read_media
from precsearch.data.polygraphy import read_polygraphy
from precsearch.data.preprocess import Preprocess, parse_preprocess
from precsearch.data.script import read_script
from precsearch.data.spec import InputSpec, batch_axis, resolve
from precsearch.data.synthetic import random_feeds

__all__ = ["load"]

_NO_SHAPES: Mapping[str, tuple[int, ...]] = {}


def load(
    path: str | Path | None,
    specs: Sequence[InputSpec],
    *,
    batch: int = 1,
    shapes: Mapping[str, tuple[int, ...]] = _NO_SHAPES,
    seed: int = 0,
    outputs: Collection[str] | None = None,
    limit: int = MAX_BYTES,
    preprocess: str = "",
) -> Dataset:
    """Read data for a model.

    Args:
        path: One ``.npz``; a folder of ``.npz`` (or Polygraphy ``.json``) files, one feed each; a
            Polygraphy inputs ``.json``; a ``.jsonl`` with one sample a line; a folder of pictures
            or sounds; a ``.py`` with ``load_data()``; ``None`` for seeded random numbers. In one
            ``.npz``, if every input array has one axis more than the input, each entry of it is a
            whole feed; otherwise axis 0 holds samples, cut into feeds.
        specs: The model's inputs.
        batch: Samples in a feed, where the model's batch is dynamic and the data does not say.
        shapes: Input name → shape that the user fixed (``--input-shape``).
        seed: Of random numbers.
        outputs: Names of the model's outputs, to check the keys ``__ref__<output>`` against.
        limit: Bytes that the data may have unpacked.
        preprocess: Steps that make samples of pictures or sounds (`parse_preprocess`).

    Raises:
        DataError: The data cannot be read or does not fit the model.
        OptionError: ``batch`` or ``shapes`` contradict the model, each other or the data.
    """
    resolved = resolve(specs, shapes)
    _check_batch(batch, resolved)
    check = FeedCheck(resolved, frozenset(outputs) if outputs is not None else None)
    if path is None:
        raw, assumed = random_feeds(resolved, batch, seed)
        return check.dataset(raw, random=True, notes=assumed)
    path = Path(path)
    what = repr(path.name)
    try:
        raw, notes = _read(path, check, resolved, batch, limit, parse_preprocess(preprocess))
    except OSError as error:
        raise DataError(f"{what} cannot be read ({error}); check the path") from error
    if not raw:
        raise DataError(f"{what} holds no samples; give at least one")
    data = check.dataset(raw, notes=notes)
    if batch > 1 and set(data.sizes) != {batch}:
        raise OptionError(
            f"--batch {batch} does not apply to {what}, whose whole feeds hold "
            f"{sorted(set(data.sizes))} samples; store feeds of {batch} or leave it out"
        )
    return data


def _check_batch(batch: int, specs: Sequence[InputSpec]) -> None:
    fixed = batch_axis(specs).fixed
    if batch < 1 or (batch > 1 and fixed not in (None, batch)):
        why = f"the model or --input-shape fixes it at {fixed}" if fixed else "it starts at 1"
        raise OptionError(f"a batch of {batch} is not possible: {why}")


def _read(
    path: Path,
    check: FeedCheck,
    specs: Sequence[InputSpec],
    batch: int,
    limit: int,
    how: Preprocess,
) -> tuple[list[dict[str, Array]], tuple[str, ...]]:
    if path.is_dir() and media_files(path)[0]:
        stacked = read_media(path, specs, how, limit)
    elif how.text:
        raise OptionError(
            f"--preprocess is for folders of pictures or sounds, which {path.name!r} is not; leave "
            "it out"
        )
    elif path.suffix == ".jsonl" and path.is_file():
        return read_lines(path, specs, limit), ()
    elif path.suffix != ".npz" or not path.is_file():
        return _read_feeds(path, limit), ()
    else:
        stacked = read_npz(path, repr(path.name), limit)
    check.keys(stacked, repr(path.name))
    return cut(stacked, specs, batch, repr(path.name))


def _read_feeds(path: Path, limit: int) -> list[dict[str, Array]]:
    if path.is_dir():
        return _read_folder(path, limit)
    if not path.is_file():
        raise DataError(f"there is no data file or folder {str(path)!r}; check the path")
    if path.suffix == ".json":
        return read_polygraphy(path, limit)
    if path.suffix == ".py":
        return read_script(path, limit)
    raise DataError(
        f"{path.name!r} is not data that precsearch reads; give an .npz, a folder of .npz files, "
        "of pictures or of sounds, a .jsonl, a Polygraphy .json or a .py with load_data()"
    )


def _read_folder(folder: Path, limit: int) -> list[dict[str, Array]]:
    files = sorted(p for p in folder.iterdir() if p.suffix in (".npz", ".json") and p.is_file())
    kinds = {p.suffix for p in files}
    if len(kinds) != 1:
        formats = "both .npz and .json" if kinds else "no .npz, no picture and no sound"
        raise DataError(
            f"the data folder {folder.name!r} holds {formats} files; store one .npz per feed in it"
        )
    feeds: list[dict[str, Array]] = []
    left = limit
    for file in files:
        found_here = _read_member(file, left)
        left -= _bytes(found_here)
        feeds += found_here
    return feeds


def _read_member(file: Path, left: int) -> list[dict[str, Array]]:
    what = f"{file.parent.name}/{file.name}"
    if file.suffix == ".npz":
        return [read_npz(file, repr(what), left)]
    return read_polygraphy(file, left)


def _bytes(feeds: Iterable[Mapping[str, Array]]) -> int:
    return sum(int(np.asarray(a).nbytes) for feed in feeds for a in feed.values())
