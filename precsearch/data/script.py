"""Data from a Python script that the user names: ``load_data()`` yields the feeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from precsearch.core.backend import Array
from precsearch.core.errors import DataError, OptionError
from precsearch.data.archive import MAX_BYTES
from precsearch.system.user_code import USER_ERRORS, describe, find_function

__all__ = ["read_script"]

_MAX_FEEDS = 1_000_000


def read_script(path: Path, limit: int = MAX_BYTES) -> list[dict[str, Array]]:
    """The feeds that a script's ``load_data()`` yields.

    Args:
        path: The ``.py`` file.
        limit: Bytes that they may have in all, which also ends a generator without end.

    Raises:
        DataError: The script fails, has no ``load_data``, or yields something else than
            dictionaries of arrays.
    """
    what = f"load_data() of {path.name!r}"
    try:
        produced = find_function(f"{path}:load_data").load()()
    except OptionError as error:
        raise DataError(f"the data script does not work: {error}") from error
    except USER_ERRORS as error:
        raise DataError(f"{what} failed: {describe(error)}") from error
    if isinstance(produced, Mapping) or not hasattr(produced, "__iter__"):
        raise DataError(
            f"{what} returned a {type(produced).__name__}; let it yield feeds, each a dictionary "
            "of input name to array"
        )
    feeds: list[dict[str, Array]] = []
    total = 0
    try:
        for raw in produced:
            feed = _feed(raw, f"feed {len(feeds)} of {what}")
            total += sum(a.nbytes for a in feed.values())
            feeds.append(feed)
            if total > limit or len(feeds) > _MAX_FEEDS:
                raise DataError(f"{what} yields more than {limit:,} bytes; let it yield fewer")
    except USER_ERRORS as error:
        raise DataError(f"{what} failed: {describe(error)}") from error
    return feeds


def _feed(raw: object, what: str) -> dict[str, Array]:
    if not isinstance(raw, Mapping) or not all(isinstance(k, str) for k in raw):
        raise DataError(
            f"{what} is a {type(raw).__name__}; yield dictionaries of input name to array"
        )
    feed: dict[str, Array] = {}
    for name, value in raw.items():
        # A copy: generators like to fill one buffer again and again.
        feed[name] = np.array(value)
        if feed[name].dtype.hasobject:
            raise DataError(f"input {name!r} of {what} is not an array of numbers")
    return feed
