"""The options that say what is minimized, what an engine must not exceed, and who is told."""

from __future__ import annotations

from typing import Annotated

from precsearch.cli.options.declare import flag, value
from precsearch.cli.options.parse import seconds, size

_WANTED = "What you want"

ObjectiveOption = Annotated[
    str,
    value(
        "NAME",
        "What is minimized: latency (the median), mean, p95 or p99 of the latency, or size. "
        "Default: latency.",
        "--objective",
        panel=_WANTED,
    ),
]
MaxLatency = Annotated[
    float | None,
    value(
        "TIME",
        "Longest time of one inference, such as 5ms or 800us; of what --objective names. Default: "
        "no limit.",
        "--max-latency",
        panel=_WANTED,
        parser=seconds("--max-latency"),
    ),
]
MaxSize = Annotated[
    int | None,
    value(
        "SIZE",
        "Largest size of what is shipped, such as 20MB or 512KiB. Default: no limit.",
        "--max-size",
        panel=_WANTED,
        parser=size("--max-size"),
    ),
]
MaxMemory = Annotated[
    int | None,
    value(
        "SIZE",
        "Most host memory that a new process takes to open the engine and to run it, such as "
        "200MB. Default: no limit.",
        "--max-memory",
        panel=_WANTED,
        parser=size("--max-memory"),
    ),
]
Mlflow = Annotated[
    bool,
    flag(
        "Log the run with MLflow, where that is installed: options, every engine, plan.",
        "--mlflow",
        panel="Output",
    ),
]

MaxLatencyHere = Annotated[
    float | None,
    value(
        "TIME",
        "Longest time of one inference here, such as 5ms or 800us. Default: the plan's limit, and "
        "not slower than FP32.",
        "--max-latency",
        parser=seconds("--max-latency"),
    ),
]
MaxSizeHere = Annotated[
    int | None,
    value(
        "SIZE",
        "Largest size of what is shipped, such as 20MB or 512KiB. Default: the plan's limit.",
        "--max-size",
        parser=size("--max-size"),
    ),
]
MaxMemoryHere = Annotated[
    int | None,
    value(
        "SIZE",
        "Most host memory that a new process takes to open the engine and to run it, such as "
        "200MB. Default: the plan's limit.",
        "--max-memory",
        parser=size("--max-memory"),
    ),
]
