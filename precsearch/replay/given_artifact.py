"""The file that a user ships: whether it is what a plan gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from precsearch.core.errors import InputError, ReplayError
from precsearch.replay.artifact import is_engine, portable_files
from precsearch.replay.materialize import Materialized
from precsearch.replay.portable import portable_suffixes
from precsearch.replay.weights import placed
from precsearch.system.regular_file import read_regular

__all__ = ["given_engine"]

_MOST_BYTES = 1 << 36
"""Of an engine; those of large language models have some 10 GB."""


def given_engine(materialized: Materialized, path: Path) -> bytes | None:
    """The bytes of an engine; ``None`` for a file that is the plan's model, which is built.

    Args:
        materialized: The plan's model, materialized.
        path: What `build` or `optimize` wrote.

    Raises:
        InputError: The file cannot be read.
        ReplayError: It is another model, or files beside it are missing or others.
    """
    try:
        data = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be read ({error.strerror}); name what 'precsearch build' wrote"
        ) from error
    if is_engine(materialized.target, path):
        return data
    if portable_suffixes(materialized.target.backend, path):
        _expect_files(portable_files(materialized.target, path, materialized.lowered))
        return None
    promised = placed(materialized.target.source, materialized.lowered.model)
    if data != promised.model:
        raise ReplayError(
            f"{str(path)!r} is not the plan's model byte for byte; build it again with "
            "'precsearch build'"
        )
    if not promised.is_beside(path):
        raise ReplayError(
            f"the weights {promised.weights!r} beside {str(path)!r} are missing or others; build "
            "it again with 'precsearch build'"
        )
    return None


def _expect_files(promised: Mapping[Path, bytes]) -> None:
    """Compare a model in the backend's own format with the plan's.

    Raises:
        ReplayError: A file is missing or another.
    """
    for path, content in promised.items():
        try:
            same = read_regular(path, _MOST_BYTES) == content
        except OSError:
            same = False
        if not same:
            raise ReplayError(
                f"{str(path)!r} is not what the plan gives with the engine installed here; build "
                "it again with 'precsearch build'"
            )
