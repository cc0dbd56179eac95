"""The options of the commands that only look: inspect, diagnose and doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from precsearch.cli.options.parse import integer

InspectData = Annotated[
    Path | None,
    Option(
        "--data",
        metavar="PATH",
        show_default=False,
        help="Samples to look in for values that FP16 would get wrong. Default: none are run.",
    ),
]
InspectRun = Annotated[
    Path | None,
    Option(
        "--run",
        metavar="RUN",
        show_default=False,
        help="A run directory of this model, to take the FP32 time of the groups from. Default: "
        "the model's name with .precsearch, here or beside the model, if there is one.",
    ),
]
Profile = Annotated[
    bool,
    Option(
        "--profile",
        metavar=" ",
        help="Time and profile the FP32 engine on --data now, for some seconds.",
    ),
]
DiagnoseData = Annotated[
    Path | None,
    Option(
        "--data",
        metavar="PATH",
        show_default=False,
        help="Samples to compare on, as for optimize; the first 64 are used. Default: random "
        "numbers, which mean little.",
    ),
]
DiagnosePrecision = Annotated[
    str,
    Option(
        "--precision",
        metavar="NAME",
        show_default=False,
        help="What all groups that can are compared in: fp16 or int8. fp32: whether the engine "
        "itself is right, and its first wrong tensor. Default: fp16.",
    ),
]
DiagnosePlan = Annotated[
    Path | None,
    Option(
        "--plan",
        metavar="PLAN",
        show_default=False,
        help="Compare a plan's assignment, with its scales, instead.",
    ),
]
Order = Annotated[
    str,
    Option(
        "--order",
        metavar="NAME",
        show_default=False,
        help="Order of the table: worst (where it begins, then the 20 worst tensors) or graph "
        "(all of them). Default: worst.",
    ),
]
Memory = Annotated[
    int,
    Option(
        "--memory",
        parser=integer("--memory", 1),
        metavar="MB",
        show_default=False,
        help="For tensors under comparison, in MB; more takes fewer passes. Default: 256.",
    ),
]
Suggest = Annotated[
    bool,
    Option(
        "--suggest",
        metavar=" ",
        help="Try graph rewrites that are exact in FP32, and say what each repairs.",
    ),
]
Rewritten = Annotated[
    Path | None,
    Option(
        "--rewritten",
        metavar="FILE",
        show_default=False,
        help="Write the model with the best rewrite that --suggest found.",
    ),
]
OldRewritten = Annotated[
    Path | None, Option("--cured", hidden=True, help="Deprecated: --rewritten.")
]
Reproducer = Annotated[
    Path | None,
    Option(
        "--reproducer",
        metavar="DIR",
        show_default=False,
        help="With --precision fp32: where to write the smallest part of the model that shows a "
        "wrong engine. Default: the model's name with .reproducer.",
    ),
]
Table = Annotated[
    Path | None,
    Option("--csv", metavar="FILE", show_default=False, help="Write every tensor as a CSV line."),
]
JsonObject = Annotated[
    bool,
    Option("--json", metavar=" ", help="Print one JSON object instead of text."),
]
