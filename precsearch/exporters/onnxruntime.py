"""A Python script that runs a plan's model with ONNX Runtime."""

from __future__ import annotations

from precsearch.exporters.polygraphy import polygraphy_shapes
from precsearch.exporters.script import HEAD, Job, shell_command

__all__ = ["onnxruntime_script"]


def onnxruntime_script(job: Job, device: str) -> str:
    """A script that runs a plan's model in ONNX Runtime through ``polygraphy run``.

    Args:
        job: What to run.
        device: Kind of device that the plan is for, ``cpu`` or ``gpu``.
    """
    words = [f"./{job.model}", "--onnxrt"]
    if device == "gpu":
        words += ["--providers", "cuda", "cpu"]
    if job.shapes:
        words += ["--input-shapes", *polygraphy_shapes(job, 1)]
    head = HEAD.format(what="One run", plan=job.plan)
    return head + shell_command("polygraphy run", words)
