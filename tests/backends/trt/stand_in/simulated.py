"""A ``tensorrt`` module with exactly the surface of one real version, to run the back end against.

What a version does not offer is an AttributeError here, a call with wrong arguments a TypeError and
a read-only property cannot be set, as with the real bindings. Methods give a value of their type
and do nothing else; what a build needs beyond that is in `behaviour`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tests.backends.trt.stand_in.surface import Member, Surface, surface

__all__ = ["Simulated", "simulated"]

ABSENT = object()


@dataclass
class Simulated:
    """A module and what was done with it.

    Attributes:
        module: Use it as ``tensorrt``.
        calls: ``(Class.method, arguments)`` and ``(Class.property=, (value,))`` in order.
        behaviour: ``Class.method`` → ``function(self, *arguments)``, instead of doing nothing;
            ``Class.property`` → ``function(self)``.
    """

    module: ModuleType
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    behaviour: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def named(self, path: str) -> list[tuple[Any, ...]]:
        """The arguments of every call of ``Class.method``."""
        return [arguments for name, arguments in self.calls if name == path]

    def make(self, cls: str) -> Any:
        """An object of a class that has no constructor."""
        kind = getattr(self.module, cls)
        return object.__new__(kind)

    def value_of(self, kind: str) -> Any:
        """What a method of this type gives where nothing else was asked of it."""
        plain = {"int": 0, "bool": True, "str": "", "float": 0.0, "None": None, "object": None}
        if kind in plain:
            return plain[kind]
        if kind.lower().startswith(("list", "dict", "tuple", "iterator")):
            return []
        found = getattr(self.module, kind, None)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return next(iter(found))
        return self.make(kind) if isinstance(found, type) else None


def simulated(version: str) -> Simulated:
    """The bindings of one of `surface.VERSIONS`, with a builder that can be constructed."""
    offered = surface(version)
    module = ModuleType("tensorrt")
    module.__dict__["__version__"] = offered.version
    made = Simulated(module)
    for name, members in offered.enums.items():
        if "." not in name:
            module.__dict__[name] = enum.IntEnum(name, members, start=0)
    for name in sorted(offered.own, key=lambda n: _depth(offered, n)):
        if "." not in name:
            module.__dict__[name] = _class(made, offered, name)
    for member in offered.top:
        if member.parameters is None:
            module.__dict__[member.name] = getattr(module, "DataType")[_DATA_TYPES[member.name]]  # noqa: B009
        else:
            module.__dict__[member.name] = _function(made, "", (member,))
    return made


_DATA_TYPES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "int4": "INT4",
    "uint8": "UINT8",
    "bool": "BOOL",
    "fp8": "FP8",
    "fp4": "FP4",
    "e8m0": "E8M0",
}


def _depth(offered: Surface, name: str) -> int:
    return 1 + max((_depth(offered, b) for b in offered.bases[name]), default=0)


def _class(made: Simulated, offered: Surface, name: str) -> type:
    bases = tuple(getattr(made.module, b) for b in offered.bases[name]) or (_Strict,)
    body: dict[str, Any] = {"__module__": "tensorrt"}
    grouped: dict[str, list[Member]] = {}
    for member in offered.own[name]:
        grouped.setdefault(member.name, []).append(member)
    for attribute, members in grouped.items():
        if attribute == "__init__":
            body[attribute] = _constructor(made, name, tuple(members))
        elif members[0].parameters is not None:
            body[attribute] = _function(made, name, tuple(members))
        else:
            body[attribute] = _property(made, name, members[0])
    for nested, members_of in offered.enums.items():
        owner, _, inner = nested.rpartition(".")
        if owner == name:
            body[inner] = enum.IntEnum(inner, members_of, start=0)
            body |= {m: body[inner][m] for m in members_of}
    return type(name, bases, body)


class _Strict:
    """Takes no attribute that it does not have, as a class of pybind11; a subclass of one does."""

    def __setattr__(self, name: str, value: Any) -> None:
        native = type(self).__module__ == "tensorrt"
        if native and not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


def _constructor(made: Simulated, cls: str, members: tuple[Member, ...]) -> Callable[..., None]:
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if all(m.opaque for m in members) and type(self).__module__ == "tensorrt":
            raise TypeError(f"tensorrt.{cls}: No constructor defined!")
        _record(made, cls, members, self, args, kwargs)

    return construct


def _function(made: Simulated, cls: str, members: tuple[Member, ...]) -> Callable[..., Any]:
    if not cls:
        return lambda *args, **kwargs: _record(made, cls, members, None, args, kwargs)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _record(made, cls, members, self, args, kwargs)

    return call


def _record(
    made: Simulated,
    cls: str,
    members: tuple[Member, ...],
    self: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    path = f"{cls}.{members[0].name}".lstrip(".")
    fitting = [m for m in members if m.takes(len(args), frozenset(kwargs))]
    if not fitting:
        raise TypeError(f"{path}(): incompatible function arguments: {args}, {kwargs}")
    given = (*args, *kwargs.values())
    made.calls.append((path, given))
    if path in made.behaviour:
        return made.behaviour[path](self, *args, **kwargs)
    return made.value_of(fitting[0].type)


def _property(made: Simulated, cls: str, member: Member) -> property:
    key = f"_{member.name}"
    path = f"{cls}.{member.name}"

    def get(self: Any) -> Any:
        if path in made.behaviour:
            return made.behaviour[path](self)
        kept = self.__dict__.get(key, ABSENT)
        return made.value_of(member.type) if kept is ABSENT else kept

    def put(self: Any, value: Any) -> None:
        made.calls.append((f"{path}=", (value,)))
        self.__dict__[key] = value

    return property(get, put if member.writable else None)
