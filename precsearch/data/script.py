"""Functions of the user: ``load_data()`` of a data script, and metrics of their own.

This is the one kind of input that runs code, and only because the user named it on purpose.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from precsearch.backend import Array
from precsearch.data.archive import MAX_BYTES
from precsearch.errors import DataError, OptionError

__all__ = ["USER_ERRORS", "describe", "read_script", "user_function"]

USER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    SystemExit,
    TypeError,
    ValueError,
)
"""What a user's code raises by mistake. Anything else is theirs, and keeps its own traceback."""

_MAX_FEEDS = 1_000_000


def user_function(where: str) -> Callable[..., object]:
    """The function that ``module:function`` or ``file.py:function`` names.

    Modules are looked for in the working directory first.

    Raises:
        OptionError: There is no such module, file or function, or importing it fails.
    """
    place, _, name = where.rpartition(":")
    if not place or not name:
        raise OptionError(f"{where!r} is no function; write module:function or file.py:function")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_module(place)
    function = getattr(module, name, None)
    if not callable(function):
        raise OptionError(f"{place!r} has no function {name!r}; check the name after the colon")
    found: Callable[..., object] = function
    return found


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)


def _from_module(name: str) -> ModuleType:
    try:
        with _first_on_path(Path.cwd()):
            importlib.invalidate_caches()
            return importlib.import_module(name)
    except USER_ERRORS as error:
        raise OptionError(f"the module {name!r} cannot be imported: {describe(error)}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise OptionError(f"there is no file {str(path)!r}; name an existing .py file")
    spec = importlib.util.spec_from_file_location(f"precsearch_user_{path.stem}", path)
    assert spec is not None  # .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        with _first_on_path(path.resolve().parent):
            spec.loader.exec_module(module)
    except USER_ERRORS as error:
        raise OptionError(f"{str(path)!r} cannot be imported: {describe(error)}") from error
    return module


def describe(error: BaseException) -> str:
    """One line: the error's type and the start of its message."""
    text = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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
        produced = user_function(f"{path}:load_data")()
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
