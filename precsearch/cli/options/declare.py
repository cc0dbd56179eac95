"""How an option is declared: values and flags, with their help and the panel that they stand in.

Defaults are said in the help itself, which keeps it short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer import Option

__all__ = ["flag", "value"]


def value(
    metavar: str,
    text: str,
    /,
    *names: str,
    panel: str | None = None,
    parser: Callable[[str], object] | None = None,
) -> Any:  # noqa: ANN401 - what typer itself declares
    """An option that takes a value.

    Args:
        metavar: What the help calls the value.
        text: The help.
        names: With their dashes; none for the parameter's own name.
        panel: Of the help.
        parser: Makes the value of the text; it is shown with ``metavar``.
    """
    return Option(
        *names,
        metavar=metavar,
        help=text,
        show_default=False,
        rich_help_panel=panel,
        parser=parser,
    )


def flag(text: str, /, *names: str, panel: str | None = None) -> Any:  # noqa: ANN401
    """An option that is there or not. A blank metavar hides its type.

    Args:
        text: The help.
        names: With their dashes.
        panel: Of the help.
    """
    return Option(*names, metavar=" ", help=text, rich_help_panel=panel)
