"""Artifacts in an engine's own model format, such as OpenVINO's ``.xml`` and ``.bin``."""

from __future__ import annotations

from pathlib import Path

from precsearch.core.backend import BackendOptions
from precsearch.core.backend.portable import TellsHowToLoad, WritesPortableModel
from precsearch.plan.recipe import Recipe
from precsearch.registry import backend_factory

__all__ = ["artifact_paths", "loading", "loading_of", "portable_suffixes"]


def portable_suffixes(backend: object, path: Path) -> tuple[str, ...]:
    """The suffixes of the files that ``path`` stands for, none if it is of another kind.

    Args:
        backend: The backend, or what constructs it.
        path: The artifact.
    """
    suffixes: tuple[str, ...] = getattr(backend, "portable_suffixes", ())
    return suffixes if suffixes[:1] == (path.suffix.lower(),) else ()


def artifact_paths(backend: str, path: Path | None) -> tuple[Path, ...]:
    """Every file that an artifact consists of, the named one first.

    Args:
        backend: Its name.
        path: The artifact, ``None`` if none is wanted.

    Raises:
        OptionError: The backend is unknown.
    """
    if path is None:
        return ()
    others = portable_suffixes(backend_factory(backend), path)[1:]
    return (path, *(path.with_suffix(suffix) for suffix in others))


def loading(backend: object, path: Path) -> tuple[str, ...]:
    """Lines of Python that open an artifact, none if it is of another kind."""
    if isinstance(backend, WritesPortableModel) and not portable_suffixes(backend, path):
        return ()
    return backend.how_to_load(str(path)) if isinstance(backend, TellsHowToLoad) else ()


def loading_of(recipe: Recipe, path: Path) -> tuple[str, ...]:
    """`loading` of a plan's artifact.

    Raises:
        OptionError: The plan's backend is unknown, or does not know its options.
    """
    build = {k: str(v) for k, v in recipe.options.items() if k != "threads"}
    threads = recipe.options.get("threads", 0)
    options = BackendOptions(threads if isinstance(threads, int) else 0, build=build)
    return loading(backend_factory(recipe.backend)(options), path)
