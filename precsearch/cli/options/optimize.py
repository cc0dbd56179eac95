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
        "How the loss is measured: rel-l2, rel-l2-max, max-abs, cosine, sqnr or psnr (in dB, "
        "where --tol is a floor), top1, top1-agree, decisions, box-agreement, mask-iou, "
        "edit-distance, recall@K, or a function of yours as module:function. Repeatable: makes a "
        "plan for each metric. Default: rel-l2.",
        panel=_WANTED,
    ),
]

Data = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples for calibration and for measuring the loss: an .npz; a folder of .npz files, "
        "pictures or sounds; a .jsonl of token ids; a Polygraphy .json; or a .py with load_data(). "
        "Default: random numbers, whose losses mean little.",
        panel=_DATA,
    ),
]
Preprocess = Annotated[
    str,
    value(
        "STEPS",
        "How pictures or sounds become samples, such as resize=256,crop=224 or letterbox=640; "
        "docs/data.md lists all steps. Default: none, and a folder of pictures is refused.",
        panel=_DATA,
    ),
]
Holdout = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples for the final check, which the search does not see. Default: a quarter of --data.",
        panel=_DATA,
    ),
]
Calibration = Annotated[
    Path | None,
    value(
        "PATH",
        "Samples for INT8 ranges, used for nothing else. Default: a part of --data.",
        panel=_DATA,
    ),
]
CalibrationMethod = Annotated[
    str,
    value(
        "METHOD",
        "How INT8 ranges are set: minmax, percentile, mse or entropy. Default: minmax.",
        panel=_DATA,
    ),
]
Batch = Annotated[
    int,
    value(
        "N",
        "Samples in one inference, for accuracy and timing, where the model leaves the batch open. "
        "Default: 1.",
        panel=_DATA,
        parser=integer("--batch", 1),
    ),
]
InputShape = Annotated[
    list[str] | None,
    value(
        "NAME:SHAPE",
        "Shape of an input with open dimensions, such as x:8x3x224x224. If samples differ in "
        "shape, those of this shape are timed. Repeatable. Default: the data's.",
        panel=_DATA,
    ),
]
Shapes = Annotated[
    list[str] | None,
    value(
        "SHAPES@W",
        "A set of input shapes with its weight, such as 'x:1x3x32x32@0.7'; inputs are separated by "
        "';'. Repeat it to minimize the weighted latency over several sets; accuracy is checked at "
        "each. If samples differ in shape, those of these shapes are timed.",
        panel=_DATA,
    ),
]

MaxBuilds = Annotated[
    int | None,
    value(
        "N",
        "Most engines to build and time; engines that fail early do not count. Default: the "
        "strategy decides.",
        panel=_EFFORT,
        parser=integer("--max-builds", 1),
    ),
]
TimeBudget = Annotated[
    str | None,
    value(
        "TIME",
        "Longest time from start to plan, such as 90s, 30m or 1h30m. Default: no limit.",
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
        "Engine to optimize for, as listed by doctor. auto takes TensorRT where it is installed "
        "and has a GPU, then ONNX Runtime on a GPU, then onnxruntime. optimize also takes several, "
        "separated by commas, and ships the fastest plan. Default: auto.",
        panel=_ENGINE,
    ),
]
Precisions = Annotated[
    str | None,
    value(
        "LIST",
        "Precisions that groups may have, such as fp32,int8. Default: those that the engine runs.",
        panel=_ENGINE,
    ),
]
Granularity = Annotated[
    str,
    value(
        "NAME",
        "What gets one precision together: a node, a group (a fused pattern such as Conv+Relu) or "
        "a block (which a model repeats). Default: group.",
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
        "An option of the backend, such as workspace_mib=4096 for TensorRT. The plan records it. "
        "Repeatable.",
        panel=_ENGINE,
    ),
]
Rewrite = Annotated[
    bool,
    flag(
        "Try graph rewrites that are exact in FP32 and make FP16 more accurate, and keep those "
        "that help. The plan records them; diagnose --suggest shows them.",
        "--rewrite",
        panel=_ENGINE,
    ),
]
Lift = Annotated[
    bool,
    flag(
        "For a model that comes quantized: make each of its Q/DQ pairs a choice. INT8 keeps the "
        "scales of the model; the other layers run in floats.",
        "--lift",
        panel=_ENGINE,
    ),
]
OldRewrite = Annotated[bool, Option("--cure", hidden=True, help="Deprecated: --rewrite.")]
NoCorrections = Annotated[
    bool,
    flag(
        "Do not try corrections of INT8, such as equalized channels and clipped ranges. By default "
        "those that make INT8 more accurate are kept; they cost no time at inference.",
        "--no-corrections",
        panel=_ENGINE,
    ),
]

PlanOutput = Annotated[
    Path | None,
    value(
        "FILE",
        "Where to write the plan; the measurements are written beside it, to .evidence.json. "
        "Default: MODEL's name with .plan.json, in the current folder.",
        "--output",
        "-o",
        panel=_OUTPUT,
    ),
]
Artifact = Annotated[
    Path | None,
    value("FILE", "Also write the optimized model, or the engine, to this file.", panel=_OUTPUT),
]
RunDir = Annotated[
    Path | None,
    value(
        "DIR",
        "Folder for the journal, which --resume, report and watch read. Default: the plan's name "
        "with .precsearch, beside the plan.",
        panel=_OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    flag("Continue an interrupted search with the same options.", "--resume", panel=_OUTPUT),
]
DryRun = Annotated[
    bool,
    flag(
        "Estimate how many engines and how much time a search takes, then stop; write nothing.",
        "--dry-run",
        panel=_EFFORT,
    ),
]
Force = Annotated[
    bool,
    flag(
        "Replace existing files; optimize never replaces the plan of another model.",
        "--force",
        panel=_OUTPUT,
    ),
]
Json = Annotated[
    bool,
    flag("Print events as lines of JSON instead of text (docs/json.md).", "--json", panel=_OUTPUT),
]
