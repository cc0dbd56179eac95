"""The cattrs converter: how each kind of value is written, and read without any coercion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn

from precsearch.core.objective import Objective
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Aggregation, Fidelity

__all__ = ["converter"]

Hook = Callable[[Any], Any]
StructureHook = Callable[[Any, Any], Any]

_TAG = "type"
_SCALARS = (int, str, bool, float, type(None))
_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_ENUMS: tuple[type[Enum], ...] = (Aggregation, Fidelity, Objective, Precision)
_FLOAT = frozenset({float})
"""Most of a journal is rows of plain floats: those are taken over as they are."""


@cache
def converter(*, detailed: bool) -> Converter:
    """The converter; ``detailed`` keeps track of where malformed data is, at a price."""
    made = Converter(detailed_validation=detailed, forbid_extra_keys=True)
    for kind in (int, str, bool):
        made.register_structure_hook(kind, _exactly(kind))
    made.register_structure_hook(float, _read_float)
    made.register_unstructure_hook(float, _write_float)
    made.register_structure_hook(Assignment, _read_assignment)
    made.register_unstructure_hook(Assignment, _write_assignment)
    for choice in _ENUMS:  # by name: cattrs takes an enum of strings for a string
        made.register_structure_hook(choice, _reads_enum(choice))
        made.register_unstructure_hook(choice, _write_enum)
    made.register_structure_hook_factory(_is_record, _reads_record(detailed))
    for fits, reads, writes in (
        (lambda cls: _origin(cls) is tuple, _reads_tuple, _writes_tuple),
        (lambda cls: _origin(cls) in (dict, Mapping), _reads_mapping, _writes_mapping),
        (lambda cls: _is_union_of(cls, _is_record), _reads_union, _writes_union),
        (lambda cls: _is_union_of(cls, _SCALARS.__contains__), _reads_scalars, _writes_scalars),
    ):
        made.register_structure_hook_factory(fits, reads)
        made.register_unstructure_hook_factory(fits, writes)
    return made


def _shown(value: object) -> str:
    names = {dict: "an object", list: "a list", type(None): "null"}
    return names.get(type(value)) or json.dumps(value)[:60]


def _expect_object(value: object) -> None:
    if type(value) is not dict:
        raise ValueError(f"expected an object, not {_shown(value)}")


def _exactly(kind: type) -> StructureHook:
    name = {int: "a whole number", str: "a string", bool: "true or false"}[kind]

    def read(value: Any, _: Any) -> Any:  # noqa: ANN401
        if type(value) is kind:
            return value
        raise ValueError(f"expected {name}, not {_shown(value)}")

    return read


def _read_float(value: Any, _: Any) -> float:  # noqa: ANN401
    kind = type(value)
    if kind is float or kind is int:
        return float(value)
    if kind is str and value in _SPECIAL:
        return _SPECIAL[value]
    raise ValueError(f"expected a number, not {_shown(value)}")


def _write_float(value: float) -> float | str:
    value = float(value)
    return value if math.isfinite(value) else str(value)


def _write_enum(value: Enum) -> Any:  # noqa: ANN401
    return value.value


def _reads_enum(cls: type[Enum]) -> StructureHook:
    members = {m.value: m for m in cls}

    def read(value: Any, _: Any) -> Enum:  # noqa: ANN401
        try:
            return members[value]
        except (KeyError, TypeError):
            added = cls is Precision and isinstance(value, str) and Precision.named(value)
            if added:
                return added
            names = ", ".join(str(m) for m in members)
            raise ValueError(f"expected one of {names}, not {_shown(value)}") from None

    return read


def _read_assignment(value: Any, _: Any) -> Assignment:  # noqa: ANN401
    _expect_object(value)
    return Assignment.of({key: _read_precision(p, Precision) for key, p in value.items()})


_read_precision = _reads_enum(Precision)


def _write_assignment(value: Assignment) -> dict[str, str]:
    return {key: precision.value for key, precision in value.entries}


def _is_record(cls: Any) -> bool:  # noqa: ANN401
    return isinstance(cls, type) and is_dataclass(cls) and cls is not Assignment


def _reads_record(detailed: bool) -> Callable[[type, Converter], StructureHook]:
    def make(cls: type, converter: Converter) -> StructureHook:
        fields: StructureHook = make_dict_structure_fn(
            cls,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=detailed,
        )

        def read(value: Any, kind: Any) -> Any:  # noqa: ANN401
            if type(value) is not dict:
                raise ValueError(f"expected an object, not {_shown(value)}")
            return fields(value, kind)

        return read

    return make


def _reads_tuple(cls: Any, converter: Converter) -> StructureHook:  # noqa: ANN401
    kinds = get_args(cls)
    repeated = len(kinds) == 2 and kinds[1] is Ellipsis
    hooks = [converter.get_structure_hook(k) for k in kinds if k is not Ellipsis]

    def read(value: Any, _: Any) -> Any:  # noqa: ANN401
        if type(value) is not list:
            raise ValueError(f"expected a list, not {_shown(value)}")
        if repeated:
            if kinds[0] is float and set(map(type, value)) <= _FLOAT:
                return tuple(value)
            return tuple([hooks[0](v, kinds[0]) for v in value])
        if len(value) != len(kinds):
            raise ValueError(f"expected {len(kinds)} entries, not {len(value)}")
        return tuple([h(v, k) for h, v, k in zip(hooks, value, kinds, strict=True)])

    return read


def _writes_tuple(cls: Any, converter: Converter) -> Hook:  # noqa: ANN401
    kinds = get_args(cls)
    hooks = [converter.get_unstructure_hook(k) for k in kinds if k is not Ellipsis]
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return lambda value: [hooks[0](v) for v in value]
    return lambda value: [hook(v) for hook, v in zip(hooks, value, strict=True)]


def _reads_mapping(cls: Any, converter: Converter) -> StructureHook:  # noqa: ANN401
    key_kind, kind = get_args(cls)
    key_hook, hook = converter.get_structure_hook(key_kind), converter.get_structure_hook(kind)

    def read(value: Any, _: Any) -> Any:  # noqa: ANN401
        _expect_object(value)
        if key_kind is not str:
            return {key_hook(k, key_kind): hook(v, kind) for k, v in value.items()}
        if kind is float and set(map(type, value.values())) <= _FLOAT:
            return dict(value)
        return {k: hook(v, kind) for k, v in value.items()}

    return read


def _writes_mapping(cls: Any, converter: Converter) -> Hook:  # noqa: ANN401
    key_hook, hook = (converter.get_unstructure_hook(k) for k in get_args(cls))
    return lambda value: {key_hook(k): hook(v) for k, v in value.items()}


def _origin(cls: Any) -> Any:  # noqa: ANN401
    return get_origin(cls)


def _is_union_of(cls: Any, fits: Callable[[Any], bool]) -> bool:  # noqa: ANN401
    members = _members(cls)
    return bool(members) and all(map(fits, members))


def _members(cls: Any) -> Sequence[Any]:  # noqa: ANN401
    return get_args(cls) if _origin(cls) in (Union, UnionType) else ()


def _reads_union(cls: Any, converter: Converter) -> StructureHook:  # noqa: ANN401
    hooks = {m.__name__: (m, converter.get_structure_hook(m)) for m in _members(cls)}

    def read(value: Any, _: Any) -> Any:  # noqa: ANN401
        _expect_object(value)
        left = dict(value)
        name = left.pop(_TAG, None)
        if not isinstance(name, str) or name not in hooks:
            raise ValueError(f"{_TAG!r} must be one of {', '.join(hooks)}, not {_shown(name)}")
        kind, hook = hooks[name]
        return hook(left, kind)

    return read


def _writes_union(cls: Any, converter: Converter) -> Hook:  # noqa: ANN401
    hooks = {m: converter.get_unstructure_hook(m) for m in _members(cls)}

    def write(value: Any) -> dict[str, Any]:  # noqa: ANN401
        return {_TAG: type(value).__name__, **cast(dict[str, Any], hooks[type(value)](value))}

    return write


def _reads_scalars(cls: Any, converter: Converter) -> StructureHook:  # noqa: ANN401
    members = _members(cls)
    number = converter.get_structure_hook(float) if float in members else None

    def read(value: Any, _: Any) -> Any:  # noqa: ANN401
        if type(value) in members:
            return value
        if number is not None:
            return number(value, float)
        names = ", ".join("null" if m is type(None) else m.__name__ for m in members)
        raise ValueError(f"expected one of {names}, not {_shown(value)}")

    return read


def _writes_scalars(_: Any, __: Converter) -> Hook:  # noqa: ANN401
    return lambda value: _write_float(value) if isinstance(value, float) else value
