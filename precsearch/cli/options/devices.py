"""Options of `optimize` about how and where it searches: strategy options, workers and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from precsearch.cli.options.parse import integer

_EFFORT = "How long to search"
_DEVICES = "Devices"

Devices = Annotated[
    str,
    Option(
        metavar="LIST",
        show_default=False,
        help="Devices to search on, the home device first: GPU indices such as 0,1, or sets of CPU "
        "cores such as 0-3,4-7 (or 0+2,1+3). Engines are built on all; where their timings do not "
        "compare, they are timed on the home device. Default: the one that the engine takes.",
        rich_help_panel=_DEVICES,
    ),
]
Ray = Annotated[
    str,
    Option(
        metavar="ADDRESS",
        show_default=False,
        help="Search on the devices of a Ray cluster, such as 10.0.0.1:6379 or auto; 'local' "
        "starts Ray on this machine for the run. Needs precsearch\\[ray].",
        rich_help_panel=_DEVICES,
    ),
]
Target = Annotated[
    str,
    Option(
        metavar="HOST",
        show_default=False,
        help="Search on the device of another host, such as ssh://user@host (with "
        "?python=PATH&root=FOLDER if they are others than python3 and ~/.cache/precsearch there). "
        "It needs the same version of precsearch.",
        rich_help_panel=_DEVICES,
    ),
]
StrategyOption = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=VALUE",
        show_default=False,
        help="An option of the strategy alone, such as patience=20 for auto; recorded in the plan. "
        "Repeatable.",
        rich_help_panel=_EFFORT,
    ),
]
WarmStart = Annotated[
    list[Path] | None,
    Option(
        metavar="RUN|PLAN",
        show_default=False,
        help="A run directory whose measurements are taken over (its tolerance may differ), or a "
        "plan whose choice is tried first (its model may differ). Repeatable.",
        rich_help_panel=_EFFORT,
    ),
]
Workers = Annotated[
    int,
    Option(
        parser=integer("--workers", 1),
        metavar="N",
        show_default=False,
        help="Engines to build and check at a time; they take turns to be timed, so speeds stay "
        "true. More need more memory. Default: 1.",
        rich_help_panel=_EFFORT,
    ),
]
