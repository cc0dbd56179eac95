"""The options of the commands: types, names and help. A flag's blank metavar hides its type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from precsearch.cli.parse import integer, real

_WANTED = "What you want"
_DATA = "Data"
_EFFORT = "How long to search"
_ENGINE = "Engine"
_OUTPUT = "Output"

Model = Annotated[Path, Argument(metavar="MODEL", show_default=False, help="The ONNX model.")]
Plan = Annotated[
    Path, Argument(metavar="PLAN", show_default=False, help="A plan that optimize wrote.")
]
Original = Annotated[
    Path | None,
    Option(
        "--model",
        metavar="FILE",
        help="The original ONNX model. Default: the plan's name with .onnx, beside it.",
    ),
]

Tolerance = Annotated[
    float,
    Option(
        "--tol",
        parser=real("--tol"),
        metavar="T",
        help="How far outputs may be from FP32's, in the metric's terms.",
        rich_help_panel=_WANTED,
    ),
]
OtherTolerance = Annotated[
    float | None,
    Option(
        "--tol",
        parser=real("--tol"),
        metavar="T",
        help="Another tolerance than the plan's, in its metric's terms.",
    ),
]
Metric = Annotated[
    str,
    Option(
        metavar="NAME",
        help="How the distance is measured: rel-l2, rel-l2-max, max-abs, cosine, sqnr, psnr (dB, "
        "a floor), top1, top1-agree, or your own as module:function.",
        rich_help_panel=_WANTED,
    ),
]

Data = Annotated[
    Path | None,
    Option(
        metavar="PATH",
        help="Samples to calibrate and judge with: an .npz, a folder of them, a Polygraphy .json, "
        "or a .py with load_data(). Default: random numbers, which mean little.",
        rich_help_panel=_DATA,
    ),
]
VerifyData = Annotated[
    Path | None,
    Option(
        "--data",
        metavar="PATH",
        help="Samples to judge with, best ones that the search has not seen. Default: random "
        "numbers, which mean little.",
    ),
]
Holdout = Annotated[
    Path | None,
    Option(
        metavar="PATH",
        help="Samples for the final check alone. Default: half of --data.",
        rich_help_panel=_DATA,
    ),
]
Calibration = Annotated[
    Path | None,
    Option(
        metavar="PATH",
        help="Samples for INT8 ranges alone. Default: a part of --data.",
        rich_help_panel=_DATA,
    ),
]
CalibrationMethod = Annotated[
    str,
    Option(
        metavar="minmax|percentile|mse",
        help="How INT8 ranges are chosen.",
        rich_help_panel=_DATA,
    ),
]
Batch = Annotated[
    int,
    Option(
        parser=integer("--batch", 1),
        metavar="N",
        help="Samples per inference, where the model leaves it open; also what is timed.",
        rich_help_panel=_DATA,
    ),
]
InputShape = Annotated[
    list[str] | None,
    Option(
        metavar="NAME:SHAPE",
        help="Shape of an input with open dimensions, such as x:8x3x224x224. Repeatable.",
        rich_help_panel=_DATA,
    ),
]

MaxBuilds = Annotated[
    int | None,
    Option(
        parser=integer("--max-builds", 1),
        metavar="N",
        help="Most engines to build and time. Default: the strategy decides.",
        rich_help_panel=_EFFORT,
    ),
]
TimeBudget = Annotated[
    str | None,
    Option(
        metavar="TIME",
        help="Longest time to search, such as 90s, 30m or 1h30m. Default: no limit.",
        rich_help_panel=_EFFORT,
    ),
]
Strategy = Annotated[
    str,
    Option(
        metavar="NAME",
        help="How to search: auto, bisection, tpe or uniform.",
        rich_help_panel=_EFFORT,
    ),
]
Seed = Annotated[
    int,
    Option(
        parser=integer("--seed", 0),
        metavar="N",
        help="Of every random choice.",
        rich_help_panel=_EFFORT,
    ),
]

Backend = Annotated[
    str, Option(metavar="NAME", help="Engine to optimise for.", rich_help_panel=_ENGINE)
]
Precisions = Annotated[
    str | None,
    Option(
        metavar="LIST",
        help="What layer groups may run in, such as fp32,int8. Default: all that the engine truly "
        "runs.",
        rich_help_panel=_ENGINE,
    ),
]
Granularity = Annotated[
    str,
    Option(
        metavar="node|group|block",
        help="What is decided together: single nodes, fused patterns such as Conv+Relu, or whole "
        "repeated blocks.",
        rich_help_panel=_ENGINE,
    ),
]
Threads = Annotated[
    int,
    Option(
        parser=integer("--threads", 0),
        metavar="N",
        help="CPU threads of one inference; 0 is the number of physical cores.",
        rich_help_panel=_ENGINE,
    ),
]
OtherThreads = Annotated[
    int | None,
    Option(
        "--threads",
        parser=integer("--threads", 0),
        metavar="N",
        help="CPU threads of one inference. Default: the plan's.",
    ),
]

PlanOutput = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write the plan. Default: MODEL's name with .plan.json, here.",
        rich_help_panel=_OUTPUT,
    ),
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
Artifact = Annotated[
    Path | None,
    Option(metavar="FILE", help="Also write the optimised model.", rich_help_panel=_OUTPUT),
]
RunDir = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        help="Where to keep the journal. Default: MODEL's name with .precsearch, beside the plan.",
        rich_help_panel=_OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    Option(
        "--resume",
        metavar=" ",
        help="Go on with an interrupted search.",
        rich_help_panel=_OUTPUT,
    ),
]
Force = Annotated[
    bool,
    Option("--force", metavar=" ", help="Replace existing outputs.", rich_help_panel=_OUTPUT),
]
Json = Annotated[
    bool,
    Option(
        "--json",
        metavar=" ",
        help="Print events as JSON lines instead of text.",
        rich_help_panel=_OUTPUT,
    ),
]
