"""Names of a package whose modules are imported when the names are first used (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

__all__ = ["lazy_names"]


def lazy_names(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's ``__getattr__`` and ``__dir__``.

    Args:
        package: Its name.
        names: Module → the names that the package takes from it, separated by spaces;
            ``new=old`` takes ``old`` under the name ``new``.
    """
    entries = ((module, entry) for module, listed in names.items() for entry in listed.split())
    where = {entry.partition("=")[0]: (module, entry.split("=")[-1]) for module, entry in entries}

    def get(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = where[name]
        value: object = getattr(importlib.import_module(module), attribute)
        vars(sys.modules[package])[name] = value
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *where})

    return get, listed
