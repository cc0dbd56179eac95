"""A Python script that runs a plan's model with ONNX Runtime."""

from __future__ import annotations

from precsearch.exporters.polygraphy import polygraphy_shapes
from precsearch.exporters.script import HEAD, Job, shell_command

__all__ = ["onnxruntime_script"]


def onnxruntime_script(job: Job) -> str:
    """A script that runs a plan's model in ONNX Runtime through ``polygraphy run``."""
    words = [f"./{job.model}", "--onnxrt"]
    if job.shapes:
        words += ["--input-shapes", *polygraphy_shapes(job, 1)]
    head = HEAD.format(what="One run", plan=job.plan)
    return head + shell_command("polygraphy run", words)
