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
        "What to minimize: latency (the median), mean, p95 or p99 of the latency, or size. "
        "Default: latency.",
        "--objective",
        panel=_WANTED,
    ),
]
MaxLatency = Annotated[
    float | None,
    value(
        "TIME",
        "Longest allowed time of one inference, such as 5ms or 800us: the median, or the number "
        "that --objective names. Default: no limit.",
        "--max-latency",
        panel=_WANTED,
        parser=seconds("--max-latency"),
    ),
]
MaxSize = Annotated[
    int | None,
    value(
        "SIZE",
        "Largest allowed size of the optimized model, such as 20MB or 512KiB. Default: no limit.",
        "--max-size",
        panel=_WANTED,
        parser=size("--max-size"),
    ),
]
MaxMemory = Annotated[
    int | None,
    value(
        "SIZE",
        "Most host memory that a new process may take to open and run the engine, such as 200MB. "
        "Default: no limit.",
        "--max-memory",
        panel=_WANTED,
        parser=size("--max-memory"),
    ),
]
Mlflow = Annotated[
    bool,
    flag(
        "Also log the run to MLflow, which must be installed: options, engines and plan.",
        "--mlflow",
        panel="Output",
    ),
]

MaxLatencyHere = Annotated[
    float | None,
    value(
        "TIME",
        "Longest allowed time of one inference here, such as 5ms or 800us. Default: the plan's "
        "limit, and not slower than FP32.",
        "--max-latency",
        parser=seconds("--max-latency"),
    ),
]
MaxSizeHere = Annotated[
    int | None,
    value(
        "SIZE",
        "Largest allowed size of the optimized model, such as 20MB or 512KiB. Default: the plan's "
        "limit.",
        "--max-size",
        parser=size("--max-size"),
    ),
]
MaxMemoryHere = Annotated[
    int | None,
    value(
        "SIZE",
        "Most host memory that a new process may take to open and run the engine, such as 200MB. "
        "Default: the plan's limit.",
        "--max-memory",
        parser=size("--max-memory"),
    ),
]
