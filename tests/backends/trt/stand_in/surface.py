"""What a TensorRT version's Python bindings offer, read from the committed dumps.

The dumps are names, parameters and types, taken from the real wheels by `bindings.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "surface"
VERSIONS = ("8.6.0", "8.6.1", "10.0.1", "10.16.1.11", "11.0.0.114", "11.4.0.106")


RTX = "rtx-1.7.1.116"
"""The dump of TensorRT-RTX, made by `dump_surface.py` with its bindings in TensorRT's place."""


@dataclass(frozen=True)
class Member:
    """An attribute of a class, a function, or a constant.

    Attributes:
        parameters: Of a function, ``name=`` where it has a default; ``None`` of anything else.
        type: What it gives, as pybind11 writes it.
        writable: Whether it can be assigned.
    """

    name: str
    parameters: tuple[str, ...] | None
    type: str
    writable: bool

    @property
    def opaque(self) -> bool:
        """Whether the parameters are unknown (written in Python, or not constructible)."""
        return self.parameters == ("...",)

    def takes(self, positional: int, keywords: frozenset[str]) -> bool:
        """Whether a call with so many positional arguments and these keywords is one of its."""
        if self.parameters is None or self.opaque:
            return self.opaque
        if positional > len(self.parameters):
            return False
        rest = self.parameters[positional:]
        needed = {p for p in rest if not p.endswith("=")}
        return needed <= keywords <= {p.rstrip("=") for p in rest}


@dataclass(frozen=True)
class Surface:
    """A version's bindings."""

    version: str
    enums: dict[str, tuple[str, ...]]
    bases: dict[str, tuple[str, ...]]
    own: dict[str, tuple[Member, ...]]
    top: tuple[Member, ...]

    def members(self, cls: str, name: str) -> tuple[Member, ...]:
        """The overloads of a class's attribute, its bases' too; none if it has no such one."""
        found = tuple(m for m in self.own.get(cls, ()) if m.name == name)
        for base in self.bases.get(cls, ()):
            found = found or self.members(base, name)
        return found

    def offers(self, path: str) -> bool:
        """Whether ``Class.attribute``, ``Enum.MEMBER``, ``Class``, or a function is there."""
        owner, _, name = path.rpartition(".")
        if not owner:
            known = {*self.enums, *self.own, *(m.name for m in self.top)}
            return name in known
        return (
            name in self.enums.get(owner, ())
            or path in self.enums
            or bool(self.members(owner, name))
        )


@cache
def surface(version: str) -> Surface:
    """The dump of one of `VERSIONS`, or of `RTX`."""
    raw: dict[str, Any] = json.loads((FOLDER / f"{version}.json").read_text())
    classes = raw["classes"]
    return Surface(
        raw["version"],
        {name: tuple(members) for name, members in raw["enums"].items()},
        {name: tuple(c["bases"]) for name, c in classes.items()},
        {name: tuple(map(_member, c["has"])) for name, c in classes.items()},
        tuple(map(_member, raw["functions"] + raw["values"])),
    )


def _member(entry: str) -> Member:
    match = re.fullmatch(r"(\w+)(\(.*?\))?(?:(: | -> )(.+))?", entry)
    assert match, entry
    name, arguments, arrow, kind = match.groups()
    listed = None if arguments is None else tuple(filter(None, arguments[1:-1].split(", ")))
    return Member(name, listed, kind or "None", arrow == ": ")
