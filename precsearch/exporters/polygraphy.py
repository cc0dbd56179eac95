"""Shell scripts that build a plan's engine with trtexec or Polygraphy, without precsearch."""

from __future__ import annotations

from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.exporters.script import HEAD, Job, allowed_types, shell_command, tactic_sources_of

__all__ = ["polygraphy_script", "polygraphy_shapes"]


def polygraphy_script(job: Job, postprocess: str) -> str:
    """A script that runs ``polygraphy convert``.

    Args:
        job: What is built.
        postprocess: File name of the Python script that goes with it.
    """
    words = [f"./{job.model}", "--convert-to", "trt", "--output", job.engine]
    for index, bound in enumerate(("min", "opt", "max") if job.shapes else ()):
        words += [f"--trt-{bound}-shapes", *polygraphy_shapes(job, index)]
    words += _polygraphy_knobs(job.knobs)
    words += ["--trt-config-postprocess-script", postprocess]
    if job.pins is None:
        words.append("--strongly-typed")
    else:
        words += allowed_types(job.pins)
        if job.pins.to_set:
            words += ["--precision-constraints", "obey"]
        words += ["--trt-network-postprocess-script", postprocess]
    head = HEAD.format(what="The TensorRT engine", plan=job.plan)
    return head + shell_command("polygraphy convert", words)


def polygraphy_shapes(job: Job, index: int) -> list[str]:
    """``x:[1,3,224,224]`` for each input."""
    return [f"{name}:[{','.join(map(str, s[index]))}]" for name, s in job.shapes.items()]


def _polygraphy_knobs(knobs: TensorRtOptions) -> list[str]:
    words = ["--pool-limit", f"workspace:{knobs.workspace_mib}M"]
    words += ["--builder-optimization-level", str(knobs.optimization_level)]
    if knobs.tactic_sources != "default":
        words += ["--tactic-sources", *tactic_sources_of(knobs)]
    return words + ["--tf32"] * knobs.tf32
