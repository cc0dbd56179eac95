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
        "Another tolerance than the plan's, in its metric's terms.",
        "--tol",
        parser=real("--tol"),
    ),
]
VerifyData = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples to judge with, best ones that the search has not seen. Default: random "
        "numbers, which mean little.",
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
        "Measure this file, which build or optimize wrote. Default: a new build of the plan.",
        "--artifact",
    ),
]
PlanMetric = Annotated[
    str | None,
    value(
        "NAME",
        "The metric of your own that the plan is judged by, as file.py:function or "
        "module:function; it must be the very code that the plan was made with. A plan's own word "
        "runs no code. Default: a built-in metric.",
        "--metric",
    ),
]
Expect = Annotated[
    str | None,
    value(
        "DIGEST",
        "Refuse a plan with another digest: of what it builds, and of what it is judged by. "
        "Default: any.",
        "--expect",
    ),
]
SetPrecision = Annotated[
    list[str],
    value(
        "PATTERN=PRECISION",
        "Run groups in this precision; patterns as for optimize --pin. Repeatable.",
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
        "Another backend than the plan's: TensorRT 10 and later and tensorrt-rtx take each "
        "other's plans. Default: the plan's.",
        "--backend",
    ),
]
AheadTarget = Annotated[
    str | None,
    value(
        "SM",
        "Build for this compute capability, such as sm89, without such a GPU (tensorrt-rtx). "
        "Default: the device of this machine.",
        "--target",
    ),
]
ExportTo = Annotated[
    str,
    value(
        "TOOL",
        "polygraphy or trtexec, which build an engine; model-explorer or netron, which show the "
        "precision of each node.",
        "--to",
    ),
]
ExportOutput = Annotated[
    Path,
    value("DIR", "Folder for the model and the scripts; made if it is missing.", "--output", "-o"),
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
        "Where to write the plan; what was measured goes beside it, as FILE's name with "
        ".evidence.json.",
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
        "Write the plan of the best engine within this tolerance, in the metric's terms. "
        "Default: show the engines to choose from.",
        "--at",
        parser=real("--at"),
    ),
]
PlanAtOutput = Annotated[
    Path | None,
    value(
        "FILE",
        "Where to write the plan; what was measured goes beside it (.evidence.json).",
        "--output",
        "-o",
    ),
]
RunModel = Annotated[
    Path | None,
    value(
        "FILE", "The original ONNX model. Default: the run's, beside the run directory.", "--model"
    ),
]
