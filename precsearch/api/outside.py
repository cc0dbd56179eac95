"""Shell scripts that build a plan's engine with trtexec or Polygraphy, without precsearch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from precsearch.api.pins import Pins
from precsearch.backends.tensorrt.knobs import Knobs
from precsearch.errors import OptionError

__all__ = ["LONGEST", "Job", "Shape", "onnxruntime_script", "polygraphy_script", "trtexec_script"]

LONGEST = 40_000
"""Characters of all layer names together; twice that and the types must fit the 128 KiB that Linux
gives one argument."""

_HEAD = """\
#!/bin/sh
# {what} of the precsearch plan {plan}.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")"
# No telemetry of ONNX Runtime, and no Python module from this folder.
export ORT_DISABLE_TELEMETRY="${{ORT_DISABLE_TELEMETRY:-1}}" PYTHONSAFEPATH="${{PYTHONSAFEPATH:-1}}"
"""

_PROBE = """\
trtexec=${TRTEXEC:-trtexec}
offered=$("$trtexec" --help 2>&1) || :
"""

_NEEDS_WEAK = """\
case $offered in
*--layerPrecisions=*) ;;
*)
    echo 'this trtexec sets no layer precisions (TensorRT 11): make the plan with its version' >&2
    exit 2
    ;;
esac
"""

_NEEDS_TYPED = """\
case $offered in
*--stronglyTyped*) typed=--stronglyTyped ;;
*--fp16*)
    echo 'this trtexec ignores the types of a graph (before TensorRT 10): use a newer one' >&2
    exit 2
    ;;
*) typed= ;; # TensorRT 11 has no other networks
esac
"""


_TACTIC_SOURCES = (
    *("CUBLAS", "CUBLAS_LT", "CUDNN"),
    *("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"),
)
"""Those of TensorRT 8.6 to 10; 11 has the last two."""


Shape = tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """What is built.

    Attributes:
        plan: The plan's digest.
        model: File name of the ONNX model, beside the script.
        engine: File name of the engine.
        shapes: Inputs with open dimensions → the least, the measured and the greatest shape that
            the engine takes.
        knobs: The build options.
        pins: What a weak plan asks for; ``None`` of a typed one.
    """

    plan: str
    model: str
    engine: str
    shapes: Mapping[str, tuple[Shape, Shape, Shape]]
    knobs: Knobs = field(default_factory=Knobs)
    pins: Pins | None = None


def trtexec_script(job: Job) -> str:
    """A script that runs trtexec (or what $TRTEXEC names), with the arguments that it is given too.

    Raises:
        OptionError: An input's name cannot be written on trtexec's command line.
    """
    words = [f"--onnx={job.model}", f"--saveEngine={job.engine}"]
    words += _trtexec_shapes(job)
    words += _trtexec_knobs(job.knobs)
    head = _HEAD.format(what="The TensorRT engine", plan=job.plan) + _PROBE
    if job.pins is None:
        return head + _NEEDS_TYPED + _command('"$trtexec" $typed', words)
    words += _allowed(job.pins)
    pinned = job.pins.to_set
    kinds = [(p, "+".join([str(p.precision)] * len(p.outputs))) for p in pinned if all(p.inner)]
    if pinned:
        words.append("--precisionConstraints=obey")
        words.append("--layerPrecisions=" + ",".join(f"{p.node}:{p.precision}" for p in pinned))
    if kinds:
        words.append("--layerOutputTypes=" + ",".join(f"{p.node}:{kind}" for p, kind in kinds))
    return head + _NEEDS_WEAK + _command('"$trtexec"', words)


def polygraphy_script(job: Job, postprocess: str) -> str:
    """A script that runs ``polygraphy convert``.

    Args:
        job: What is built.
        postprocess: File name of the Python script that goes with it.
    """
    words = [f"./{job.model}", "--convert-to", "trt", "--output", job.engine]
    for index, bound in enumerate(("min", "opt", "max") if job.shapes else ()):
        words += [f"--trt-{bound}-shapes", *_polygraphy_shapes(job, index)]
    words += _polygraphy_knobs(job.knobs)
    words += ["--trt-config-postprocess-script", postprocess]
    if job.pins is None:
        words.append("--strongly-typed")
    else:
        words += _allowed(job.pins)
        if job.pins.to_set:
            words += ["--precision-constraints", "obey"]
        words += ["--trt-network-postprocess-script", postprocess]
    head = _HEAD.format(what="The TensorRT engine", plan=job.plan)
    return head + _command("polygraphy convert", words)


def onnxruntime_script(job: Job) -> str:
    """A script that runs a plan's model in ONNX Runtime through ``polygraphy run``."""
    words = [f"./{job.model}", "--onnxrt"]
    if job.shapes:
        words += ["--input-shapes", *_polygraphy_shapes(job, 1)]
    head = _HEAD.format(what="One run", plan=job.plan)
    return head + _command("polygraphy run", words)


def _allowed(pins: Pins) -> list[str]:
    return ["--fp16"] * pins.fp16 + ["--int8"] * pins.int8


def _command(program: str, words: Iterable[str]) -> str:
    lines = [f"exec {program}", *map(shlex.quote, words), '"$@"']
    return " \\\n    ".join(lines) + "\n"


def _trtexec_shapes(job: Job) -> list[str]:
    for name in job.shapes:
        if set(name) & set(",:'*"):
            raise OptionError(
                f"trtexec cannot be told the shape of input {name!r}, whose name has a character "
                "that means something to it; export with --to polygraphy, or rename the input"
            )

    def spec(index: int) -> str:
        pairs = ((name, shapes[index]) for name, shapes in job.shapes.items())
        return ",".join(f"{name}:{'x'.join(map(str, s)) or 'scalar'}" for name, s in pairs)

    if not job.shapes:
        return []
    kinds = {"shapes": 1}
    if spec(0) != spec(2):
        kinds |= {"minShapes": 0, "optShapes": 1, "maxShapes": 2}
    return [f"--{kind}={spec(index)}" for kind, index in kinds.items()]


def _polygraphy_shapes(job: Job, index: int) -> list[str]:
    """``x:[1,3,224,224]`` for each input."""
    return [f"{name}:[{','.join(map(str, s[index]))}]" for name, s in job.shapes.items()]


def _trtexec_knobs(knobs: Knobs) -> list[str]:
    words = [
        f"--memPoolSize=workspace:{knobs.workspace_mib}",
        f"--builderOptimizationLevel={knobs.optimization_level}",
        f"--avgTiming={knobs.timing_iterations}",
    ]
    if knobs.tactic_sources != "default":
        used = _used(knobs)
        signs = [("+" if name in used else "-") + name for name in _TACTIC_SOURCES]
        words.append(f"--tacticSources={','.join(signs)}")
    return words + ["--noTF32"] * (not knobs.tf32)


def _polygraphy_knobs(knobs: Knobs) -> list[str]:
    words = ["--pool-limit", f"workspace:{knobs.workspace_mib}M"]
    words += ["--builder-optimization-level", str(knobs.optimization_level)]
    if knobs.tactic_sources != "default":
        words += ["--tactic-sources", *_used(knobs)]
    return words + ["--tf32"] * knobs.tf32


def _used(knobs: Knobs) -> list[str]:
    return [] if knobs.tactic_sources == "none" else knobs.tactic_sources.upper().split("+")
