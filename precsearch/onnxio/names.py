"""Names in a model are UTF-8, as ONNX says; protobuf itself hands others on, as bytes."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from precsearch.errors import ModelError
from precsearch.onnxio.external import is_repeated

__all__ = ["check_utf8"]

_PROSE = frozenset({"doc_string", "metadata_props", "producer_name", "producer_version"})
"""What nothing is looked up by, so that its bytes do no harm."""


def check_utf8(message: Message) -> None:
    """Check that every name in a message is text, however deep.

    The files have the syntax ``proto2``, whose strings the parser does not check: the value of one
    that is not UTF-8 is ``bytes``.

    Raises:
        ModelError: One is not.
    """
    pending: list[Message] = [message]
    while pending:
        found = pending.pop()
        for name, repeated, holds_text in _fields(found.DESCRIPTOR):
            if repeated:
                values = getattr(found, name)
            else:
                values = [getattr(found, name)] if found.HasField(name) else []
            if not holds_text:
                pending += values
                continue
            for value in values:
                if isinstance(value, bytes):
                    raise ModelError(
                        f"{found.DESCRIPTOR.name}.{name} of the model is {value[:40]!r}, which is "
                        "not UTF-8; export the model again"
                    )


@cache
def _fields(kind: Descriptor) -> tuple[tuple[str, bool, bool], ...]:
    """The fields to look into: name, whether repeated, and whether they hold text."""
    return tuple(
        (field.name, is_repeated(field), field.message_type is None)
        for field in kind.fields
        if field.name not in _PROSE
        and (field.message_type is not None or field.type == FieldDescriptor.TYPE_STRING)
    )
