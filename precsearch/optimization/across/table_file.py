"""The table of engines of a search on several backends, kept in its run directory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from precsearch.codec import dumps, structure, unstructure
from precsearch.core.errors import InputError
from precsearch.setup.config import EngineRow
from precsearch.setup.files import write_text
from precsearch.system.regular_file import is_regular, read_regular

__all__ = ["ENGINES", "EngineTable", "read_table", "write_table"]

ENGINES = "engines.json"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineTable:
    """What each engine reached.

    Attributes:
        shipped: The backend whose plan was shipped; its run lies in the folder of that name.
        rows: One for each backend, in the order in which they were named.
    """

    shipped: str
    rows: tuple[EngineRow, ...]


def write_table(folder: Path, table: EngineTable) -> None:
    """Keep the table in a run directory.

    Raises:
        ResourceError: There is no room.
    """
    write_text(folder / ENGINES, dumps(unstructure(table)), follow=False)


def read_table(folder: Path) -> EngineTable | None:
    """The table of a run directory, ``None`` if the run was on one backend.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / ENGINES
    if not is_regular(path):
        return None
    try:
        table = structure(json.loads(read_regular(path, _MAX_BYTES, follow=False)), EngineTable)
    except (OSError, ValueError, RecursionError, InputError) as error:
        raise InputError(f"the table of engines {str(path)!r} cannot be read: {error}") from error
    names = [row.backend for row in table.rows]
    if table.shipped not in names or not all(map(_plain, names)):
        raise InputError(f"the table of engines {str(path)!r} has no row of what was shipped")
    return table


def _plain(name: str) -> bool:
    """Whether a name stays in the folder that it is appended to."""
    return name not in ("", ".", "..") and Path(name).name == name
