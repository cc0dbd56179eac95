"""Functions of the user: ``load_data()`` of a data script, and metrics of their own.

This is the one kind of input that runs code, and only because the user named it on the command line
or in a call. Nothing that is read from a plan, a journal or another file is ever given to this
module.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from precsearch.core.errors import OptionError
from precsearch.system.regular_file import is_regular, read_regular

__all__ = ["USER_ERRORS", "UserFunction", "describe", "find_function"]

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

_MAX_SOURCE = 1 << 26
"""Bytes of a source file."""


@dataclass(frozen=True)
class UserFunction:
    """A function that the user named; its code has not run yet.

    Attributes:
        name: ``file.py:function`` without folders, or ``module:function``.
        sha256: Of the file of the code, as hex. What that code imports is not in it.
    """

    name: str
    sha256: str
    _place: str
    _file: Path
    _code: bytes

    def load(self) -> Callable[..., object]:
        """Run the module's code, and take the function from it.

        Raises:
            OptionError: Running it fails, or there is no such function.
        """
        is_file = self._place.endswith(".py")
        module = _run_file(self._file, self._code) if is_file else _imported(self._place)
        attribute = self.name.rpartition(":")[2]
        function = getattr(module, attribute, None)
        if not callable(function):
            raise OptionError(
                f"{self._place!r} has no function {attribute!r}; check the name after the colon"
            )
        loaded: Callable[..., object] = function
        return loaded


def find_function(where: str) -> UserFunction:
    """What ``module:function`` or ``file.py:function`` names, without running it.

    Modules are looked for in the working directory first. Of a module inside a package, Python
    imports the package to find it.

    Raises:
        OptionError: There is no such module or file, or it is no file that can be read.
    """
    place, _, name = where.rpartition(":")
    if not place or not name:
        raise OptionError(f"{where!r} is no function; write module:function or file.py:function")
    if place.endswith(".py"):
        path = Path(place)
        if not is_regular(path):
            raise OptionError(f"there is no file {place!r}; name an existing .py file")
        return _found(f"{path.name}:{name}", place, path)
    spec = _spec(place)
    if spec.origin is None or not is_regular(spec.origin):
        raise OptionError(
            f"the module {place!r} has no file, so that a plan could not say which it was; name "
            "another"
        )
    return _found(where, place, Path(spec.origin))


def _found(name: str, place: str, file: Path) -> UserFunction:
    try:
        code = read_regular(file, _MAX_SOURCE)
    except OSError as error:
        raise OptionError(f"{str(file)!r} cannot be read: {describe(error)}") from error
    return UserFunction(name, hashlib.sha256(code).hexdigest(), place, file, code)


def _here(name: str) -> ModuleSpec | None:
    """A module of the working directory."""
    importlib.invalidate_caches()
    return PathFinder.find_spec(name, [str(Path.cwd())])


def _spec(name: str) -> ModuleSpec:
    package, _, _ = name.partition(".")
    try:
        with _last_on_path(Path.cwd()):
            spec = _here(package) if package == name and name not in sys.modules else None
            if spec is None or spec.origin is None:
                if package != name:
                    _imported(name.rpartition(".")[0])
                spec = importlib.util.find_spec(name)
    except USER_ERRORS as error:
        raise _not_imported(name, error) from error
    if spec is None:
        raise _not_imported(name, ModuleNotFoundError(f"No module named {name!r}"))
    return spec


def _not_imported(name: str, error: BaseException) -> OptionError:
    return OptionError(f"the module {name!r} cannot be imported: {describe(error)}")


def _imported(name: str) -> ModuleType:
    package, _, _ = name.partition(".")
    try:
        with _last_on_path(Path.cwd()):
            spec = _here(package) if package not in sys.modules else None
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                sys.modules[package] = module
                try:
                    spec.loader.exec_module(module)
                except BaseException:
                    sys.modules.pop(package, None)
                    raise
            return importlib.import_module(name)
    except USER_ERRORS as error:
        raise _not_imported(name, error) from error


def _run_file(path: Path, code: bytes) -> ModuleType:
    """The very bytes of which the digest is known."""
    module = ModuleType(f"precsearch_user_{path.stem}")
    module.__file__ = str(path)
    try:
        with _last_on_path(path.resolve().parent):
            exec(compile(code, str(path), "exec"), module.__dict__)
    except USER_ERRORS as error:
        raise OptionError(f"{str(path)!r} cannot be imported: {describe(error)}") from error
    return module


@contextmanager
def _last_on_path(folder: Path) -> Iterator[None]:
    """Modules beside the user's are found, and hide no other: not Python's, none installed."""
    entry = str(folder)
    sys.path.append(entry)
    try:
        yield
    finally:
        for place in range(len(sys.path) - 1, -1, -1):
            if sys.path[place] == entry:
                del sys.path[place]
                break


def describe(error: BaseException) -> str:
    """One line: the error's type and the start of its message."""
    text = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
