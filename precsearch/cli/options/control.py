"""The options that settle groups before a search: --pin, --exclude and --only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from typer import Option

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.grouping.control import Control, Pin, pin
from precsearch.system.regular_file import read_regular

__all__ = ["Exclude", "Only", "PinOption", "parse_control"]

_PANEL = "What stays as it is"
_MOST_BYTES = 1 << 22
_PATTERN = "a name or a glob of groups, nodes or tensors, or op:TYPE (also group:, node:, tensor:)"

PinOption = Annotated[
    list[str] | None,
    Option(
        "--pin",
        metavar="PATTERN=PRECISION",
        show_default=False,
        help=f"Keep groups in a precision or a more precise one; PATTERN is {_PATTERN}. "
        "@FILE reads one pin a line, with the reason after a '#'. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Exclude = Annotated[
    list[str] | None,
    Option(
        metavar="PATTERN",
        show_default=False,
        help="Leave these groups in FP32. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]
Only = Annotated[
    list[str] | None,
    Option(
        metavar="PATTERN",
        show_default=False,
        help="Search these groups alone; all others stay in FP32. Repeatable.",
        rich_help_panel=_PANEL,
    ),
]


def parse_control(
    pins: Iterable[str], exclude: Iterable[str] = (), only: Iterable[str] = ()
) -> Control:
    """What is settled, from the texts of the options.

    Args:
        pins: ``PATTERN=PRECISION``, or ``@FILE`` of such lines.
        exclude: Patterns that stay in FP32.
        only: Patterns outside of which everything stays in FP32.

    Raises:
        OptionError: A text is not of this form, or a file cannot be read.
    """
    found: list[Pin] = []
    for text in pins:
        if text.startswith("@"):
            found += _from_file(Path(text[1:]))
        else:
            found.append(_pin(text, "", f"--pin {text}"))
    for pattern in exclude:
        found.append(pin(pattern, Precision.FP32.value, option=f"--exclude {pattern}"))
    return Control(tuple(found), tuple(only))


def _pin(text: str, reason: str, option: str) -> Pin:
    pattern, _, precision = text.rpartition("=")
    return pin(pattern, precision, reason=reason, option=option)


def _from_file(path: Path) -> Iterator[Pin]:
    """Pins of a file; empty lines and lines that begin with ``#`` are skipped."""
    try:
        lines = read_regular(path, _MOST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise OptionError(
            f"the file of pins {str(path)!r} cannot be read: {reason}; check the path"
        ) from error
    for line in lines:
        text, _, reason = line.partition(" #")
        if text.strip() and not text.startswith("#"):
            yield _pin(text.strip(), reason.strip(), f"--pin {text.strip()}")
