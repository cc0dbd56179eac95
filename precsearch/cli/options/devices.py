"""Options of `optimize` about how and where it searches: strategy options, workers and devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from precsearch.cli.options.declare import value
from precsearch.cli.options.parse import integer

_EFFORT = "How long to search"
_DEVICES = "Devices"

Devices = Annotated[
    str,
    value(
        "LIST",
        "Devices to search on, the home device first: GPU indices such as 0,1, or sets of CPU "
        "cores such as 0-3,4-7 (or 0+2,1+3). Engines are built on all; where their timings do not "
        "compare, they are timed on the home device. Default: the one that the engine takes.",
        panel=_DEVICES,
    ),
]
Ray = Annotated[
    str,
    value(
        "ADDRESS",
        "Search on the devices of a Ray cluster, such as 10.0.0.1:6379 or auto; 'local' "
        "starts Ray on this machine for the run. Needs precsearch\\[ray].",
        panel=_DEVICES,
    ),
]
Target = Annotated[
    str,
    value(
        "HOST",
        "Search on the device of another host, such as ssh://user@host (with "
        "?python=PATH&root=FOLDER if they are others than python3 and ~/.cache/precsearch there). "
        "It needs the same version of precsearch.",
        panel=_DEVICES,
    ),
]
StrategyOption = Annotated[
    list[str] | None,
    value(
        "NAME=VALUE",
        "An option of the strategy alone, such as patience=20 for auto; recorded in the plan. "
        "Repeatable.",
        panel=_EFFORT,
    ),
]
WarmStart = Annotated[
    list[Path] | None,
    value(
        "RUN|PLAN",
        "A run directory whose measurements are taken over (its tolerance may differ), or a "
        "plan whose choice is tried first (its model may differ). Repeatable.",
        panel=_EFFORT,
    ),
]
Workers = Annotated[
    int,
    value(
        "N",
        "Engines to build and check at a time; they take turns to be timed, so speeds stay "
        "true. More need more memory. Default: 1.",
        panel=_EFFORT,
        parser=integer("--workers", 1),
    ),
]
