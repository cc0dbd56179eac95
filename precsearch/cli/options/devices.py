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
        "Devices to search on: GPU indices such as 0,1, or sets of CPU cores such as 0-3,4-7. "
        "The first one times the finalists, and all engines if the devices are not equally fast. "
        "Default: one device, which the engine chooses.",
        panel=_DEVICES,
    ),
]
Ray = Annotated[
    str,
    value(
        "ADDRESS",
        "Search on the devices of a Ray cluster, such as 10.0.0.1:6379 or auto; local starts Ray "
        "on this machine for the run. Needs precsearch\\[ray].",
        panel=_DEVICES,
    ),
]
Target = Annotated[
    str,
    value(
        "HOST",
        "Search on the device of another host, such as ssh://user@host, which needs the same "
        "version of precsearch. Add ?python=PATH&root=FOLDER if these are not python3 and "
        "~/.cache/precsearch.",
        panel=_DEVICES,
    ),
]
StrategyOption = Annotated[
    list[str] | None,
    value(
        "NAME=VALUE",
        "An option of the strategy, such as patience=20 for auto. The plan records it. Repeatable.",
        panel=_EFFORT,
    ),
]
WarmStart = Annotated[
    list[Path] | None,
    value(
        "RUN|PLAN",
        "A run directory, whose measurements are used again (of the same model; the tolerance may "
        "differ), or a plan, whose assignment is tried first (the model may differ). Repeatable.",
        panel=_EFFORT,
    ),
]
Workers = Annotated[
    int,
    value(
        "N",
        "Engines to build and check side by side. They are timed one at a time, so that speeds "
        "stay right. Each takes memory. Default: 1.",
        panel=_EFFORT,
        parser=integer("--workers", 1),
    ),
]
