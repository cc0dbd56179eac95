"""One more member of `Precision`, for as long as a test lasts."""

from __future__ import annotations

from typing import Any

import pytest

from precsearch.core.precision import PRECISIONS, Precision, PrecisionSpec


def added(
    monkeypatch: pytest.MonkeyPatch, value: str, row: PrecisionSpec | None = None
) -> Precision:
    """A member that nothing but the enumeration knows.

    Args:
        monkeypatch: Takes it away again.
        value: Its value.
        row: Its row of the table; without one it has none.
    """
    enumeration: Any = Precision
    member: Any = str.__new__(Precision, value)
    member._name_, member._value_ = value.upper(), value
    monkeypatch.setitem(enumeration._member_map_, member._name_, member)
    monkeypatch.setitem(enumeration._value2member_map_, value, member)
    names = [*enumeration._member_names_, member._name_]
    monkeypatch.setattr(enumeration, "_member_names_", names)
    if row is not None:
        monkeypatch.setitem(PRECISIONS, member, row)
    found: Precision = member
    return found
