"""The options that say what is minimised, what an engine must not exceed, and who is told."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from precsearch.cli.options.parse import seconds, size

_WANTED = "What you want"

ObjectiveOption = Annotated[
    str,
    Option(
        "--objective",
        metavar="NAME",
        show_default=False,
        help="What is minimised: latency (the median), mean, p95 or p99 of the latency, or size. "
        "Default: latency.",
        rich_help_panel=_WANTED,
    ),
]
MaxLatency = Annotated[
    float | None,
    Option(
        "--max-latency",
        parser=seconds("--max-latency"),
        metavar="TIME",
        show_default=False,
        help="Longest time of one inference, such as 5ms or 800us; of what --objective names. "
        "Default: no limit.",
        rich_help_panel=_WANTED,
    ),
]
MaxSize = Annotated[
    int | None,
    Option(
        "--max-size",
        parser=size("--max-size"),
        metavar="SIZE",
        show_default=False,
        help="Largest size of what is shipped, such as 20MB or 512KiB. Default: no limit.",
        rich_help_panel=_WANTED,
    ),
]
MaxMemory = Annotated[
    int | None,
    Option(
        "--max-memory",
        parser=size("--max-memory"),
        metavar="SIZE",
        show_default=False,
        help="Most host memory that a new process takes to open the engine and to run it, such as "
        "200MB. Default: no limit.",
        rich_help_panel=_WANTED,
    ),
]
Mlflow = Annotated[
    bool,
    Option(
        "--mlflow",
        metavar=" ",
        help="Log the run with MLflow, where that is installed: options, every engine, plan.",
        rich_help_panel="Output",
    ),
]

MaxLatencyHere = Annotated[
    float | None,
    Option(
        "--max-latency",
        parser=seconds("--max-latency"),
        metavar="TIME",
        show_default=False,
        help="Longest time of one inference here, such as 5ms or 800us. Default: the plan's limit, "
        "and not slower than FP32.",
    ),
]
MaxSizeHere = Annotated[
    int | None,
    Option(
        "--max-size",
        parser=size("--max-size"),
        metavar="SIZE",
        show_default=False,
        help="Largest size of what is shipped, such as 20MB or 512KiB. Default: the plan's limit.",
    ),
]
MaxMemoryHere = Annotated[
    int | None,
    Option(
        "--max-memory",
        parser=size("--max-memory"),
        metavar="SIZE",
        show_default=False,
        help="Most host memory that a new process takes to open the engine and to run it, such as "
        "200MB. Default: the plan's limit.",
    ),
]
