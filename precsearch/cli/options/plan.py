"""The options of the commands that read a plan or a run: build, export, verify, report, watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from precsearch.cli.options.declare import value
from precsearch.cli.options.parse import integer, real

Plan = Annotated[
    Path, Argument(metavar="PLAN", show_default=False, help="A plan that optimize wrote.")
]
Original = Annotated[
    Path | None,
    value(
        "FILE",
        "The original ONNX model. Default: the plan's name with .onnx, beside it.",
        "--model",
    ),
]
OtherTolerance = Annotated[
    float | None,
    value(
        "T",
        "Bound on the loss, by the plan's metric. Default: the plan's.",
        "--tol",
        parser=real("--tol"),
    ),
]
VerifyData = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples to measure the loss on, preferably ones that the search has not seen. Default: "
        "random numbers, whose losses mean little.",
        "--data",
    ),
]
OtherThreads = Annotated[
    int | None,
    value(
        "N",
        "CPU threads of one inference. Default: the plan's.",
        "--threads",
        parser=integer("--threads", 0),
    ),
]
Measured = Annotated[
    Path | None,
    value(
        "FILE",
        "Measure this file, written by build or optimize. Default: build the plan anew.",
        "--artifact",
    ),
]
PlanMetric = Annotated[
    str | None,
    value(
        "NAME",
        "For a plan that was made with a metric of yours: file.py:function or module:function, the "
        "same code. A plan names code but never runs it. Default: the plan's built-in metric.",
        "--metric",
    ),
]
Expect = Annotated[
    str | None,
    value(
        "DIGEST",
        "Refuse a plan whose digest is another one; it covers what is built and what verify "
        "checks. Default: accept any.",
        "--expect",
    ),
]
SetPrecision = Annotated[
    list[str],
    value(
        "PATTERN=PRECISION",
        "Run these groups in this precision; patterns as for --pin of optimize. Repeatable.",
        "--set",
    ),
]
EditedPlan = Annotated[
    Path,
    value("FILE", "Where to write the plan.", "--output", "-o"),
]
ModelOutput = Annotated[
    Path,
    value("FILE", "Where to write the optimized model.", "--output", "-o"),
]
OtherBackend = Annotated[
    str | None,
    value(
        "NAME",
        "Backend to build with: TensorRT 10 and later and tensorrt-rtx take each other's plans. "
        "Default: the plan's.",
        "--backend",
    ),
]
AheadTarget = Annotated[
    str | None,
    value(
        "SM",
        "GPU to build for, by compute capability such as sm89; none is needed here (tensorrt-rtx "
        "only). Default: this machine's device.",
        "--target",
    ),
]
ExportTo = Annotated[
    str,
    value(
        "TOOL",
        "polygraphy or trtexec, to build an engine by a script; model-explorer or netron, to see "
        "the precision of each node.",
        "--to",
    ),
]
ExportOutput = Annotated[
    Path,
    value(
        "DIR", "Folder for the model and the scripts; created if it is missing.", "--output", "-o"
    ),
]
Reported = Annotated[
    list[Path],
    Argument(
        metavar="RUN...",
        show_default=False,
        help="A run directory, a plan, or a run and its plan. Several runs are shown beside each "
        "other; of two plans, the differences.",
    ),
]
ReportOutput = Annotated[
    Path | None,
    value(
        "FILE",
        "Where to write the page. Default: RUN's name with .report.html, here; what is compared "
        "is shown on the terminal.",
        "--output",
        "-o",
    ),
]
Watched = Annotated[
    Path, Argument(metavar="RUN", show_default=False, help="A run directory or its journal.")
]
UpgradedPlan = Annotated[
    Path,
    value(
        "FILE",
        "Where to write the plan; the measurements are written beside it, to .evidence.json.",
        "--output",
        "-o",
    ),
]
PlannedRun = Annotated[
    Path,
    Argument(metavar="RUN", show_default=False, help="The run directory of a finished search."),
]
At = Annotated[
    float | None,
    value(
        "T",
        "Write the plan of the fastest engine within this bound on the loss. Default: list the "
        "engines to choose from.",
        "--at",
        parser=real("--at"),
    ),
]
PlanAtOutput = Annotated[
    Path | None,
    value(
        "FILE",
        "Where to write the plan; the measurements are written beside it, to .evidence.json. "
        "Needed with --at.",
        "--output",
        "-o",
    ),
]
RunModel = Annotated[
    Path | None,
    value(
        "FILE",
        "The original ONNX model. Default: the one that the run names, beside the run directory.",
        "--model",
    ),
]
