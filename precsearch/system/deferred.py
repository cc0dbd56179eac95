"""Modules of others that are loaded when something of them is first used."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

__all__ = ["deferred"]


class _Loader(LazyLoader):
    """A lazy loader whose module tells its file without being loaded.

    `inspect` and Hypothesis ask every module that is imported for its file.
    """

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.util.LazyLoader.exec_module`."""
        super().exec_module(module)
        lazy = type(module)

        class Unloaded(ModuleType):
            def __getattribute__(self, name: str) -> object:
                if name == "__file__":
                    return object.__getattribute__(self, name)
                object.__setattr__(self, "__class__", lazy)
                return getattr(self, name)

        object.__setattr__(module, "__class__", Unloaded)


class _Finder:
    """Finds some modules as Python does, and loads each on the first use of an attribute."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        if name not in self._names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Defer the loading of modules that are imported while the context lasts.

    A module that is loaded already stays as it is. One that needs an attribute of a deferred module
    while it is imported loads that module, so that nothing breaks where a library changes.

    Args:
        names: Full names of modules, such as ``sympy``.
    """
    finder = _Finder(frozenset(names))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
