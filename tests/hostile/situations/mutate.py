"""Mutations of valid input, for hypothesis: of bytes, of JSON, of protobuf messages."""

from __future__ import annotations

import copy
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

__all__ = ["mutated_bytes", "mutated_json", "mutated_model"]

_NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63), 10**30, 255, 256]),
)
_TEXTS = st.sampled_from(
    ["", "x", "nan", "inf", "0x1p+0", "0x1p+9999", "../x", "/etc/passwd", "\x00", "é\u2028", "fp32"]
)
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    _NUMBERS,
    st.sampled_from([0.0, -1.5, 1e308, 1e-308]),
    _TEXTS,
    st.text(max_size=5),
)
_VALUES = st.one_of(_LEAVES, st.lists(_LEAVES, max_size=2), st.dictionaries(_TEXTS, _LEAVES))


@st.composite
def mutated_bytes(draw: st.DrawFn, valid: bytes) -> bytes:
    """Flips, cuts, splices, insertions: one to six of them."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["flip", "set", "cut", "drop", "insert", "splice"]))
        if how == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and at < len(data):
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif how == "cut":
            del data[at:]
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 64))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif how == "splice":
            start = draw(st.integers(0, len(data)))
            data[at:at] = data[start : start + draw(st.integers(1, 64))]
    return bytes(data)


@st.composite
def mutated_json(draw: st.DrawFn, valid: Any) -> Any:
    """A document with one to four values replaced, removed, renamed, doubled or added."""
    root = [copy.deepcopy(valid)]
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(root))
        owner, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.sampled_from(["replace", "replace", "remove", "move", "add"]))
        if how == "replace" or owner is root:
            owner[key] = draw(_VALUES)
        elif how == "remove":
            del owner[key]
        elif how == "move":
            other, there = places[draw(st.integers(0, len(places) - 1))]
            owner[key] = copy.deepcopy(other[there])
        elif isinstance(owner, dict):
            owner[draw(_TEXTS)] = draw(_VALUES)
        else:
            owner.append(copy.deepcopy(owner[key]))
    return root[0]


def _places(root: list[Any]) -> Any:
    """Every container with every key in it."""
    waiting: list[Any] = [root]
    while waiting:
        owner = waiting.pop()
        keys = owner if isinstance(owner, dict) else range(len(owner))
        for key in list(keys):
            yield owner, key
            if isinstance(owner[key], (dict, list)) and owner[key]:
                waiting.append(owner[key])


@st.composite
def mutated_model(draw: st.DrawFn, valid: onnx.ModelProto) -> bytes:
    """A model with one to four fields changed, wherever they are."""
    model = onnx.ModelProto()
    model.CopyFrom(valid)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_fields(model))
        message, field = places[draw(st.integers(0, len(places) - 1))]
        _change(draw, message, field)
    return bytes(model.SerializeToString())


def _fields(message: Message) -> Any:
    for field in message.DESCRIPTOR.fields:
        repeated = hasattr(getattr(message, field.name), "__len__") and field.type not in (
            FieldDescriptor.TYPE_STRING,
            FieldDescriptor.TYPE_BYTES,
        )
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            yield message, field
        elif repeated:
            yield message, field
            for item in getattr(message, field.name):
                yield from _fields(item)
        elif message.HasField(field.name):
            yield message, field
            yield from _fields(getattr(message, field.name))


def _change(draw: st.DrawFn, message: Message, field: FieldDescriptor) -> None:
    value = getattr(message, field.name)
    single = isinstance(value, (int, float, str, bytes))
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if hasattr(value, "__len__") and len(value):
            items = list(value)
            if draw(st.booleans()):
                del value[draw(st.integers(0, len(items) - 1))]
            else:
                value.append(items[draw(st.integers(0, len(items) - 1))])
        else:
            message.ClearField(field.name)
        return
    new = _drawn(draw, field, value if single else None)
    try:
        if single:
            setattr(message, field.name, new)
        elif len(value) and draw(st.booleans()):
            value[draw(st.integers(0, len(value) - 1))] = new
        else:
            value.append(new)
    except ValueError:  # out of the field's range, or an enum that protobuf refuses
        message.ClearField(field.name)


def _drawn(draw: st.DrawFn, field: FieldDescriptor, old: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return draw(mutated_bytes(old or b"x"))
    if field.type == FieldDescriptor.TYPE_STRING:
        known = ["x", "y", "conv", "relu", "kernel", "Conv", "Relu", "Loop", "If", "Reshape"]
        return draw(st.one_of(st.sampled_from(known), _TEXTS))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return draw(st.sampled_from([0.0, -1.0, 1e30, float("inf"), float("nan")]))
    return draw(st.one_of(_NUMBERS, st.integers(0, 30)))
