"""The options of `optimize`, some of which other commands share: types, names and help.

Defaults are said in the help itself, which keeps it short; a flag's blank metavar hides its type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from precsearch.cli.options.parse import integer

_WANTED = "What you want"
_DATA = "Data"
_EFFORT = "How long to search"
_ENGINE = "Engine"
_OUTPUT = "Output"

Model = Annotated[Path, Argument(metavar="MODEL", show_default=False, help="The ONNX model.")]

Metric = Annotated[
    str,
    Option(
        metavar="NAME",
        show_default=False,
        help="How the distance is measured: rel-l2, rel-l2-max, max-abs, cosine, sqnr, psnr (dB, "
        "a floor), top1, top1-agree, decisions, box-agreement, mask-iou, edit-distance, recall@K, "
        "or your own as module:function. Default: rel-l2.",
        rich_help_panel=_WANTED,
    ),
]

Data = Annotated[
    Path | None,
    Option(
        metavar="PATH",
        show_default=False,
        help="Samples to calibrate and judge with: an .npz, a folder of them, of pictures or of "
        "sounds, a .jsonl of token ids, a Polygraphy .json, or a .py with load_data(). Default: "
        "random numbers, which mean little.",
        rich_help_panel=_DATA,
    ),
]
Preprocess = Annotated[
    str,
    Option(
        metavar="STEPS",
        show_default=False,
        help="How pictures or sounds become samples, such as resize=256,crop=224,"
        "mean=0.485:0.456:0.406,std=0.229:0.224:0.225 (docs/data.md).",
        rich_help_panel=_DATA,
    ),
]
Holdout = Annotated[
    Path | None,
    Option(
        metavar="PATH",
        show_default=False,
        help="Samples for the final check alone. Default: half of --data.",
        rich_help_panel=_DATA,
    ),
]
Calibration = Annotated[
    Path | None,
    Option(
        metavar="PATH",
        show_default=False,
        help="Samples for INT8 ranges alone. Default: a part of --data.",
        rich_help_panel=_DATA,
    ),
]
CalibrationMethod = Annotated[
    str,
    Option(
        metavar="METHOD",
        show_default=False,
        help="How INT8 ranges are chosen: minmax, percentile, mse or entropy. Default: minmax.",
        rich_help_panel=_DATA,
    ),
]
Batch = Annotated[
    int,
    Option(
        parser=integer("--batch", 1),
        metavar="N",
        show_default=False,
        help="Samples per inference, where the model leaves it open; also what is timed. "
        "Default: 1.",
        rich_help_panel=_DATA,
    ),
]
InputShape = Annotated[
    list[str] | None,
    Option(
        metavar="NAME:SHAPE",
        show_default=False,
        help="Shape of an input with open dimensions, such as x:8x3x224x224; of feeds of several "
        "shapes, which are timed. Repeatable.",
        rich_help_panel=_DATA,
    ),
]
Shapes = Annotated[
    list[str] | None,
    Option(
        metavar="SHAPES@W",
        show_default=False,
        help="One of several sets of input shapes with its weight, such as 'x:1x3x32x32@0.7' and "
        "'x:16x3x32x32@0.3', to minimise the weighted latency. Inputs are separated by ';'. "
        "Sizes may be 0. Accuracy is judged at every set; of feeds that differ in shape, the sets "
        "say which are timed. Repeatable.",
        rich_help_panel=_DATA,
    ),
]

MaxBuilds = Annotated[
    int | None,
    Option(
        parser=integer("--max-builds", 1),
        metavar="N",
        show_default=False,
        help="Most engines to build and time, without those that fail soon. Default: the strategy "
        "decides.",
        rich_help_panel=_EFFORT,
    ),
]
TimeBudget = Annotated[
    str | None,
    Option(
        metavar="TIME",
        show_default=False,
        help="Longest time to search, such as 90s, 30m or 1h30m. Default: no limit.",
        rich_help_panel=_EFFORT,
    ),
]
Strategy = Annotated[
    str,
    Option(
        metavar="NAME",
        show_default=False,
        help="How to search: auto, bisection, tpe or uniform. Default: auto.",
        rich_help_panel=_EFFORT,
    ),
]
Seed = Annotated[
    int,
    Option(
        parser=integer("--seed", 0),
        metavar="N",
        show_default=False,
        help="Seed of every random choice. Default: 0.",
        rich_help_panel=_EFFORT,
    ),
]

Backend = Annotated[
    str,
    Option(
        metavar="NAME",
        show_default=False,
        help="Engine to optimise for: auto (tensorrt where it is installed and there is a GPU, "
        "else onnxruntime), or one of these by name; doctor tells which there are. Several with "
        "commas between are searched by turns, and the fastest is shipped. Default: auto.",
        rich_help_panel=_ENGINE,
    ),
]
Precisions = Annotated[
    str | None,
    Option(
        metavar="LIST",
        show_default=False,
        help="What layer groups may run in, such as fp32,int8. Default: all that the engine truly "
        "runs.",
        rich_help_panel=_ENGINE,
    ),
]
Granularity = Annotated[
    str,
    Option(
        metavar="NAME",
        show_default=False,
        help="What is decided together: node, group (fused patterns such as Conv+Relu) or block "
        "(whole repeated blocks). Default: group.",
        rich_help_panel=_ENGINE,
    ),
]
Threads = Annotated[
    int,
    Option(
        parser=integer("--threads", 0),
        metavar="N",
        show_default=False,
        help="CPU threads of one inference. Default: 0, the number of physical cores.",
        rich_help_panel=_ENGINE,
    ),
]
BuildOption = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=VALUE",
        show_default=False,
        help="An option of the backend alone, such as workspace_mib=4096 for TensorRT; recorded in "
        "the plan. Repeatable.",
        rich_help_panel=_ENGINE,
    ),
]
Rewrite = Annotated[
    bool,
    Option(
        "--rewrite",
        metavar=" ",
        help="Try rewrites that make FP16 accurate and leave FP32 as it is, and keep what helps; "
        "recorded in the plan. diagnose --suggest shows them.",
        rich_help_panel=_ENGINE,
    ),
]
Lift = Annotated[
    bool,
    Option(
        "--lift",
        metavar=" ",
        help="For a model that comes quantized: search where its Q/DQ pairs are kept, with their "
        "scales, and where the layers are lifted to floats.",
        rich_help_panel=_ENGINE,
    ),
]
OldRewrite = Annotated[bool, Option("--cure", hidden=True, help="Deprecated: --rewrite.")]
NoCorrections = Annotated[
    bool,
    Option(
        "--no-corrections",
        metavar=" ",
        help="Do not try corrections of INT8: equal channels, other ranges. They are kept where "
        "INT8 gets more accurate, cost nothing at run time and are recorded in the plan.",
        rich_help_panel=_ENGINE,
    ),
]

PlanOutput = Annotated[
    Path | None,
    Option(
        "--output",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Where to write the plan; what was measured goes beside it (.evidence.json). Default: "
        "MODEL's name with .plan.json, here.",
        rich_help_panel=_OUTPUT,
    ),
]
Artifact = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        show_default=False,
        help="Also write the optimised model.",
        rich_help_panel=_OUTPUT,
    ),
]
RunDir = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        show_default=False,
        help="Where to keep the journal. Default: the plan's name with .precsearch, beside it.",
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
DryRun = Annotated[
    bool,
    Option(
        "--dry-run",
        metavar=" ",
        help="Say how many engines and how long a search would take; search and write nothing.",
        rich_help_panel=_EFFORT,
    ),
]
Force = Annotated[
    bool,
    Option(
        "--force",
        metavar=" ",
        help="Replace existing outputs; optimize keeps those of another model.",
        rich_help_panel=_OUTPUT,
    ),
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
