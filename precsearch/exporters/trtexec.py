"""A shell script that builds a plan's engine with trtexec."""

from __future__ import annotations

from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.core.errors import OptionError
from precsearch.exporters.script import HEAD, Job, allowed_types, shell_command, tactic_sources_of

__all__ = ["LONGEST", "trtexec_script"]

LONGEST = 40_000
"""Characters of all layer names together; twice that and the types must fit the 128 KiB that Linux
gives one argument."""
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


def trtexec_script(job: Job) -> str:
    """A script that runs trtexec (or what $TRTEXEC names), with the arguments that it is given too.

    Raises:
        OptionError: An input's name cannot be written on trtexec's command line.
    """
    words = [f"--onnx={job.model}", f"--saveEngine={job.engine}"]
    words += _trtexec_shapes(job)
    words += _trtexec_knobs(job.knobs)
    head = HEAD.format(what="The TensorRT engine", plan=job.plan) + _PROBE
    if job.pins is None:
        return head + _NEEDS_TYPED + shell_command('"$trtexec" $typed', words)
    words += allowed_types(job.pins)
    pinned = job.pins.to_set
    kinds = [(p, "+".join([str(p.precision)] * len(p.outputs))) for p in pinned if all(p.inner)]
    if pinned:
        words.append("--precisionConstraints=obey")
        words.append("--layerPrecisions=" + ",".join(f"{p.node}:{p.precision}" for p in pinned))
    if kinds:
        words.append("--layerOutputTypes=" + ",".join(f"{p.node}:{kind}" for p, kind in kinds))
    return head + _NEEDS_WEAK + shell_command('"$trtexec"', words)


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


def _trtexec_knobs(knobs: TensorRtOptions) -> list[str]:
    words = [
        f"--memPoolSize=workspace:{knobs.workspace_mib}",
        f"--builderOptimizationLevel={knobs.optimization_level}",
        f"--avgTiming={knobs.timing_iterations}",
    ]
    if knobs.tactic_sources != "default":
        used = tactic_sources_of(knobs)
        signs = [("+" if name in used else "-") + name for name in _TACTIC_SOURCES]
        words.append(f"--tacticSources={','.join(signs)}")
    return words + ["--noTF32"] * (not knobs.tf32)
