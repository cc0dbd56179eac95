"""Options that are given as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from precsearch.core.errors import OptionError
from precsearch.core.options import constructed, option_names


@dataclass(frozen=True)
class Options:
    """All kinds of fields."""

    count: int = 1
    share: float = 0.5
    quick: bool = False
    name: str = "x"
    limit: int | None = None
    margins: tuple[float, ...] = ()
    hidden: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise OptionError("the count must be at least 1")


class Plain:
    """Takes no options."""


def test_text_becomes_the_type_of_the_field() -> None:
    given = {
        "count": "3",
        "share": "1e-2",
        "quick": "Yes",
        "name": "y",
        "limit": "7",
        "margins": "0.9,0.8",
    }
    assert constructed(Options, given, "it") == Options(3, 0.01, True, "y", 7, (0.9, 0.8))
    assert constructed(Options, {"limit": "none", "quick": "off"}, "it") == Options()
    assert constructed(Options, {}, "it") == Options()
    assert option_names(Options) == ("count", "share", "quick", "name", "limit", "margins")


@pytest.mark.parametrize(
    ("cls", "given", "said"),
    [
        (Options, {"cuont": "3"}, "it has no option 'cuont'; it has count, share"),
        (Options, {"hidden": "3"}, "it has no option 'hidden'"),
        (Plain, {"a": "3"}, "it has no option 'a'; it has none"),
        (Options, {"count": "3.5"}, "it: count takes a whole number, not '3.5'"),
        (Options, {"share": "inf"}, "it: share takes a number, not 'inf'"),
        (Options, {"quick": "maybe"}, "it: quick takes true or false, not 'maybe'"),
        (Options, {"limit": "many"}, "it: limit takes a whole number, not 'many'"),
        (Options, {"count": "0"}, "the count must be at least 1"),
    ],
)
def test_a_value_of_another_type_is_refused(
    cls: Callable[..., object], given: dict[str, str], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        constructed(cls, given, "it")
