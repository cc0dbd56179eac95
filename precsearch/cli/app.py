"""The application that commands belong to, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from precsearch._version import __version__
from precsearch.cli.exit_codes import Exit

__all__ = ["Action", "app"]

Action = Callable[[], Exit]

app = typer.Typer(
    name="precsearch",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(show: bool) -> None:
    if show:
        typer.echo(f"precsearch {__version__}")
        raise typer.Exit


@app.callback(epilog="Start with: `precsearch optimize MODEL --data SAMPLES --tol 1e-2`")
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar=" ",
            callback=_show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Make an ONNX model faster within a tolerance.

    precsearch chooses a precision for each group of layers (FP32, BF16, FP16, FP8, INT8 or INT4, as
    far as the engine has it), so that the engine is the fastest *measured* one whose outputs stay
    within your tolerance. It writes a plan that you can review, commit and replay.
    """
