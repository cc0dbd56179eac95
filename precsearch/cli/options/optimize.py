"""The options of `optimize`, some of which other commands share: types, names and help.

Defaults are said in the help itself, which keeps it short; a flag's blank metavar hides its type.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from precsearch.cli.options.declare import flag, value
from precsearch.cli.options.parse import integer

_WANTED = "What you want"
_DATA = "Data"
_EFFORT = "How long to search"
_ENGINE = "Engine"
_OUTPUT = "Output"

Model = Annotated[Path, Argument(metavar="MODEL", show_default=False, help="The ONNX model.")]

Metric = Annotated[
    list[str] | None,
    value(
        "NAME",
        "How the distance is measured: rel-l2, rel-l2-max, max-abs, cosine, sqnr, psnr (dB, "
        "a floor), top1, top1-agree, decisions, box-agreement, mask-iou, edit-distance, recall@K, "
        "or your own as module:function. Repeatable: a plan for each metric. Default: rel-l2.",
        panel=_WANTED,
    ),
]

Data = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples to calibrate and judge with: an .npz, a folder of them, of pictures or of "
        "sounds, a .jsonl of token ids, a Polygraphy .json, or a .py with load_data(). Default: "
        "random numbers, which mean little.",
        panel=_DATA,
    ),
]
Preprocess = Annotated[
    str,
    value(
        "STEPS",
        "How pictures or sounds become samples, such as resize=256,crop=224,"
        "mean=0.485:0.456:0.406,std=0.229:0.224:0.225 (docs/data.md).",
        panel=_DATA,
    ),
]
Holdout = Annotated[
    Path | None,
    value("PATH", "Samples for the final check alone. Default: half of --data.", panel=_DATA),
]
Calibration = Annotated[
    Path | None,
    value("PATH", "Samples for INT8 ranges alone. Default: a part of --data.", panel=_DATA),
]
CalibrationMethod = Annotated[
    str,
    value(
        "METHOD",
        "How INT8 ranges are chosen: minmax, percentile, mse or entropy. Default: minmax.",
        panel=_DATA,
    ),
]
Batch = Annotated[
    int,
    value(
        "N",
        "Samples per inference, where the model leaves it open; also what is timed. Default: 1.",
        panel=_DATA,
        parser=integer("--batch", 1),
    ),
]
InputShape = Annotated[
    list[str] | None,
    value(
        "NAME:SHAPE",
        "Shape of an input with open dimensions, such as x:8x3x224x224; of feeds of several "
        "shapes, which are timed. Repeatable.",
        panel=_DATA,
    ),
]
Shapes = Annotated[
    list[str] | None,
    value(
        "SHAPES@W",
        "One of several sets of input shapes with its weight, such as 'x:1x3x32x32@0.7' and "
        "'x:16x3x32x32@0.3', to minimize the weighted latency. Inputs are separated by ';'. "
        "Sizes may be 0. Accuracy is judged at every set; of feeds that differ in shape, the sets "
        "say which are timed. Repeatable.",
        panel=_DATA,
    ),
]

MaxBuilds = Annotated[
    int | None,
    value(
        "N",
        "Most engines to build and time, without those that fail soon. Default: the strategy "
        "decides.",
        panel=_EFFORT,
        parser=integer("--max-builds", 1),
    ),
]
TimeBudget = Annotated[
    str | None,
    value(
        "TIME",
        "Longest time to search, such as 90s, 30m or 1h30m. Default: no limit.",
        panel=_EFFORT,
    ),
]
Strategy = Annotated[
    str,
    value("NAME", "How to search: auto, bisection, tpe or uniform. Default: auto.", panel=_EFFORT),
]
Seed = Annotated[
    int,
    value(
        "N", "Seed of every random choice. Default: 0.", panel=_EFFORT, parser=integer("--seed", 0)
    ),
]

Backend = Annotated[
    str,
    value(
        "NAME",
        "Engine to optimize for: auto (tensorrt where it is installed and there is a GPU, "
        "else onnxruntime), or one of these by name; doctor tells which there are. Several with "
        "commas between are searched by turns, and the fastest is shipped. Default: auto.",
        panel=_ENGINE,
    ),
]
Precisions = Annotated[
    str | None,
    value(
        "LIST",
        "What layer groups may run in, such as fp32,int8. Default: all that the engine truly runs.",
        panel=_ENGINE,
    ),
]
Granularity = Annotated[
    str,
    value(
        "NAME",
        "What is decided together: node, group (fused patterns such as Conv+Relu) or block "
        "(whole repeated blocks). Default: group.",
        panel=_ENGINE,
    ),
]
Threads = Annotated[
    int,
    value(
        "N",
        "CPU threads of one inference. Default: 0, the number of physical cores.",
        panel=_ENGINE,
        parser=integer("--threads", 0),
    ),
]
BuildOption = Annotated[
    list[str] | None,
    value(
        "NAME=VALUE",
        "An option of the backend alone, such as workspace_mib=4096 for TensorRT; recorded in "
        "the plan. Repeatable.",
        panel=_ENGINE,
    ),
]
Rewrite = Annotated[
    bool,
    flag(
        "Try rewrites that make FP16 accurate and leave FP32 as it is, and keep what helps; "
        "recorded in the plan. diagnose --suggest shows them.",
        "--rewrite",
        panel=_ENGINE,
    ),
]
Lift = Annotated[
    bool,
    flag(
        "For a model that comes quantized: search where its Q/DQ pairs are kept, with their "
        "scales, and where the layers are lifted to floats.",
        "--lift",
        panel=_ENGINE,
    ),
]
OldRewrite = Annotated[bool, Option("--cure", hidden=True, help="Deprecated: --rewrite.")]
NoCorrections = Annotated[
    bool,
    flag(
        "Do not try corrections of INT8: equal channels, other ranges. They are kept where "
        "INT8 gets more accurate, cost nothing at run time and are recorded in the plan.",
        "--no-corrections",
        panel=_ENGINE,
    ),
]

PlanOutput = Annotated[
    Path | None,
    value(
        "FILE",
        "Where to write the plan; what was measured goes beside it (.evidence.json). Default: "
        "MODEL's name with .plan.json, here.",
        "--output",
        "-o",
        panel=_OUTPUT,
    ),
]
Artifact = Annotated[
    Path | None,
    value("FILE", "Also write the optimized model.", panel=_OUTPUT),
]
RunDir = Annotated[
    Path | None,
    value(
        "DIR",
        "Where to keep the journal. Default: the plan's name with .precsearch, beside it.",
        panel=_OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    flag("Go on with an interrupted search.", "--resume", panel=_OUTPUT),
]
DryRun = Annotated[
    bool,
    flag(
        "Say how many engines and how long a search would take; search and write nothing.",
        "--dry-run",
        panel=_EFFORT,
    ),
]
Force = Annotated[
    bool,
    flag(
        "Replace existing outputs; optimize keeps those of another model.", "--force", panel=_OUTPUT
    ),
]
Json = Annotated[
    bool,
    flag("Print events as JSON lines instead of text.", "--json", panel=_OUTPUT),
]
