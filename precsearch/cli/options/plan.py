"""The options of the commands that read a plan or a run: build, export, verify, report, watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from precsearch.cli.options.parse import integer, real

Plan = Annotated[
    Path, Argument(metavar="PLAN", show_default=False, help="A plan that optimize wrote.")
]
Original = Annotated[
    Path | None,
    Option(
        "--model",
        metavar="FILE",
        show_default=False,
        help="The original ONNX model. Default: the plan's name with .onnx, beside it.",
    ),
]
OtherTolerance = Annotated[
    float | None,
    Option(
        "--tol",
        parser=real("--tol"),
        metavar="T",
        show_default=False,
        help="Another tolerance than the plan's, in its metric's terms.",
    ),
]
VerifyData = Annotated[
    Path | None,
    Option(
        "--data",
        metavar="PATH",
        show_default=False,
        help="Samples to judge with, best ones that the search has not seen. Default: random "
        "numbers, which mean little.",
    ),
]
OtherThreads = Annotated[
    int | None,
    Option(
        "--threads",
        parser=integer("--threads", 0),
        metavar="N",
        show_default=False,
        help="CPU threads of one inference. Default: the plan's.",
    ),
]
Measured = Annotated[
    Path | None,
    Option(
        "--artifact",
        metavar="FILE",
        show_default=False,
        help="Measure this file, which build or optimize wrote. Default: a new build of the plan.",
    ),
]
PlanMetric = Annotated[
    str | None,
    Option(
        "--metric",
        metavar="NAME",
        show_default=False,
        help="The metric of your own that the plan is judged by, as file.py:function or "
        "module:function; it must be the very code that the plan was made with. A plan's own word "
        "runs no code. Default: a built-in metric.",
    ),
]
Expect = Annotated[
    str | None,
    Option(
        "--expect",
        metavar="DIGEST",
        show_default=False,
        help="Refuse a plan with another digest: of what it builds, and of what it is judged by. "
        "Default: any.",
    ),
]
SetPrecision = Annotated[
    list[str],
    Option(
        "--set",
        metavar="PATTERN=PRECISION",
        show_default=False,
        help="Run groups in this precision; patterns as for optimize --pin. Repeatable.",
    ),
]
EditedPlan = Annotated[
    Path,
    Option("--output", "-o", metavar="FILE", show_default=False, help="Where to write the plan."),
]
ModelOutput = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Where to write the optimised model.",
    ),
]
AheadBackend = Annotated[
    str | None,
    Option(
        "--backend",
        metavar="NAME",
        show_default=False,
        help="Another backend to build with, for --target: tensorrt-rtx takes plans of TensorRT 10 "
        "and later. Default: the plan's.",
    ),
]
AheadTarget = Annotated[
    str | None,
    Option(
        "--target",
        metavar="SM",
        show_default=False,
        help="Build for this compute capability, such as sm89, without such a GPU (tensorrt-rtx). "
        "Default: the device of this machine.",
    ),
]
ExportTo = Annotated[
    str,
    Option(
        "--to",
        metavar="TOOL",
        show_default=False,
        help="polygraphy or trtexec, which build an engine; model-explorer or netron, which show "
        "the precision of each node.",
    ),
]
ExportOutput = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        metavar="DIR",
        show_default=False,
        help="Folder for the model and the scripts; made if it is missing.",
    ),
]
Reported = Annotated[
    list[Path],
    Argument(
        metavar="RUN...",
        show_default=False,
        help="A run directory, a plan, or a run and its plan; two plans are compared.",
    ),
]
ReportOutput = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Where to write the page. Default: RUN's name with .report.html, here; two plans are "
        "compared on the terminal.",
    ),
]
Watched = Annotated[
    Path, Argument(metavar="RUN", show_default=False, help="A run directory or its journal.")
]
UpgradedPlan = Annotated[
    Path,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Where to write the plan; what was measured goes beside it, as FILE's name with "
        ".evidence.json.",
    ),
]
PlannedRun = Annotated[
    Path,
    Argument(metavar="RUN", show_default=False, help="The run directory of a finished search."),
]
At = Annotated[
    float | None,
    Option(
        "--at",
        parser=real("--at"),
        metavar="T",
        show_default=False,
        help="Write the plan of the fastest engine within this tolerance, in the metric's terms. "
        "Default: show the engines to choose from.",
    ),
]
PlanAtOutput = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Where to write the plan; what was measured goes beside it (.evidence.json).",
    ),
]
RunModel = Annotated[
    Path | None,
    Option(
        "--model",
        metavar="FILE",
        show_default=False,
        help="The original ONNX model. Default: the run's, beside the run directory.",
    ),
]
