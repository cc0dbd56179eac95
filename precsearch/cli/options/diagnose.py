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
        "Samples to check for values that FP16 or BF16 cannot hold. Default: no check.",
        "--data",
    ),
]
InspectRun = Annotated[
    Path | None,
    value(
        "RUN",
        "Run directory of this model, for the FP32 time of each group. Default: the model's name "
        "with .precsearch, in the current folder or beside the model, if there is one.",
        "--run",
    ),
]
Profile = Annotated[
    bool,
    flag("Time the FP32 engine and its groups now, on --data; takes some seconds.", "--profile"),
]
DiagnoseData = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples, as for optimize; the first 64 are used. Default: random numbers, which say "
        "little.",
        "--data",
    ),
]
DiagnosePrecision = Annotated[
    str,
    value(
        "NAME",
        "Precision to compare with FP32, in all groups that have it: fp16 or int8. fp32 checks the "
        "FP32 engine itself and shows its first wrong tensor. Default: fp16.",
        "--precision",
    ),
]
DiagnosePlan = Annotated[
    Path | None,
    value(
        "PLAN",
        "Compare the assignment and scales of this plan instead of one precision everywhere.",
        "--plan",
    ),
]
Order = Annotated[
    str,
    value(
        "NAME",
        "Order of the table: worst (where the difference begins, then the 20 worst tensors) or "
        "graph (all tensors). Default: worst.",
        "--order",
    ),
]
Memory = Annotated[
    int,
    value(
        "MB",
        "Memory for the tensors that are compared; more memory needs fewer passes. Default: 256.",
        "--memory",
        parser=integer("--memory", 1),
    ),
]
Suggest = Annotated[
    bool,
    flag(
        "Try graph rewrites that are exact in FP32, and show what each of them repairs.",
        "--suggest",
    ),
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
        "With --precision fp32: folder for the smallest part of the model that shows the wrong "
        "result. Default: the model's name with .reproducer.",
        "--reproducer",
    ),
]
Table = Annotated[
    Path | None,
    value("FILE", "Also write every tensor as a line of this CSV file.", "--csv"),
]
JsonObject = Annotated[
    bool,
    flag("Print one JSON object instead of text.", "--json"),
]
