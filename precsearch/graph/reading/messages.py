"""Walks over a model's protobuf messages by their types, so that no place is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from precsearch.core.errors import ModelError

__all__ = ["check_utf8", "parts", "tensors"]

_TENSOR = onnx.TensorProto.DESCRIPTOR.full_name

_PROSE = frozenset({"doc_string", "metadata_props", "producer_name", "producer_version"})
"""What nothing is looked up by, so that its bytes do no harm."""


def tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor of a message, however deep, in the order of the fields."""
    pending: list[Message] = [message]
    while pending:
        current = pending.pop()
        if isinstance(current, onnx.TensorProto):
            yield current
        else:
            pending += reversed(parts(current))


def parts(message: Message, but: str = "") -> list[Message]:
    """The messages inside of a message that can hold tensors, those of one field left out."""
    fields: list[Message] = []
    for name, repeated in _fields(message.DESCRIPTOR):
        if name == but:
            continue
        if repeated:
            fields += getattr(message, name)
        elif message.HasField(name):
            fields.append(getattr(message, name))
    return fields


@cache
def _fields(kind: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields of a message type that can hold a tensor, and whether they are repeated."""
    return tuple(
        (field.name, _is_repeated(field))
        for field in kind.fields
        if field.message_type is not None and _holds_tensors(field.message_type)
    )


def _is_repeated(field: FieldDescriptor) -> bool:
    """`label` is gone from protobuf 7, `is_repeated` came with protobuf 6."""
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)


@cache
def _holds_tensors(kind: Descriptor) -> bool:
    pending, seen = [kind], set[str]()
    while pending:
        one = pending.pop()
        if one.full_name == _TENSOR:
            return True
        if one.full_name not in seen:
            seen.add(one.full_name)
            pending += [f.message_type for f in one.fields if f.message_type is not None]
    return False


def check_utf8(message: Message) -> None:
    """Check that every name in a message is text, however deep.

    The files have the syntax ``proto2``, whose strings the parser does not check: the value of one
    that is not UTF-8 is ``bytes``.

    Raises:
        ModelError: One is not.
    """
    pending: list[Message] = [message]
    while pending:
        current = pending.pop()
        for name, repeated, holds_text in _searched(current.DESCRIPTOR):
            if repeated:
                values = getattr(current, name)
            else:
                values = [getattr(current, name)] if current.HasField(name) else []
            if not holds_text:
                pending += values
                continue
            for value in values:
                if isinstance(value, bytes):
                    raise ModelError(
                        f"the model's {current.DESCRIPTOR.name}.{name} is {value[:40]!r}, which is "
                        "not UTF-8; export the model again"
                    )


@cache
def _searched(kind: Descriptor) -> tuple[tuple[str, bool, bool], ...]:
    """The fields to look into: name, whether repeated, and whether they hold text."""
    return tuple(
        (field.name, _is_repeated(field), field.message_type is None)
        for field in kind.fields
        if field.name not in _PROSE
        and (field.message_type is not None or field.type == FieldDescriptor.TYPE_STRING)
    )
