"""The options of the commands that only look: inspect, diagnose and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from precsearch.cli.options.declare import flag, value
from precsearch.cli.options.parse import integer

InspectData = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples to look in for values that FP16 would get wrong. Default: none are run.",
        "--data",
    ),
]
InspectRun = Annotated[
    Path | None,
    value(
        "RUN",
        "A run directory of this model, to take the FP32 time of the groups from. Default: "
        "the model's name with .precsearch, here or beside the model, if there is one.",
        "--run",
    ),
]
Profile = Annotated[
    bool,
    flag("Time and profile the FP32 engine on --data now, for some seconds.", "--profile"),
]
DiagnoseData = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples to compare on, as for optimize; the first 64 are used. Default: random "
        "numbers, which mean little.",
        "--data",
    ),
]
DiagnosePrecision = Annotated[
    str,
    value(
        "NAME",
        "What all groups that can are compared in: fp16 or int8. fp32: whether the engine "
        "itself is right, and its first wrong tensor. Default: fp16.",
        "--precision",
    ),
]
DiagnosePlan = Annotated[
    Path | None,
    value("PLAN", "Compare a plan's assignment, with its scales, instead.", "--plan"),
]
Order = Annotated[
    str,
    value(
        "NAME",
        "Order of the table: worst (where it begins, then the 20 worst tensors) or graph "
        "(all of them). Default: worst.",
        "--order",
    ),
]
Memory = Annotated[
    int,
    value(
        "MB",
        "For tensors under comparison, in MB; more takes fewer passes. Default: 256.",
        "--memory",
        parser=integer("--memory", 1),
    ),
]
Suggest = Annotated[
    bool,
    flag("Try graph rewrites that are exact in FP32, and say what each repairs.", "--suggest"),
]
Rewritten = Annotated[
    Path | None,
    value("FILE", "Write the model with the best rewrite that --suggest found.", "--rewritten"),
]
OldRewritten = Annotated[
    Path | None, Option("--cured", hidden=True, help="Deprecated: --rewritten.")
]
Reproducer = Annotated[
    Path | None,
    value(
        "DIR",
        "With --precision fp32: where to write the smallest part of the model that shows a "
        "wrong engine. Default: the model's name with .reproducer.",
        "--reproducer",
    ),
]
Table = Annotated[
    Path | None,
    value("FILE", "Write every tensor as a CSV line.", "--csv"),
]
JsonObject = Annotated[
    bool,
    flag("Print one JSON object instead of text.", "--json"),
]
