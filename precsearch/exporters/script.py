"""What the exported scripts share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from precsearch.backends.tensorrt.layer_precisions import Pins
from precsearch.backends.tensorrt.options import TensorRtOptions

__all__ = ["HEAD", "Job", "Shape", "allowed_types", "shell_command", "tactic_sources_of"]

HEAD = """\
#!/bin/sh
# {what} of the precsearch plan {plan}.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")"
# No telemetry of ONNX Runtime, and no Python module from this folder.
export ORT_DISABLE_TELEMETRY="${{ORT_DISABLE_TELEMETRY:-1}}" PYTHONSAFEPATH="${{PYTHONSAFEPATH:-1}}"
"""
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
    knobs: TensorRtOptions = field(default_factory=TensorRtOptions)
    pins: Pins | None = None


def allowed_types(pins: Pins) -> list[str]:
    """The options that let an engine compute in what the layers are pinned to."""
    return ["--fp16"] * pins.fp16 + ["--int8"] * pins.int8


def shell_command(program: str, words: Iterable[str]) -> str:
    """The last command of a script, quoted, an argument a line."""
    lines = [f"exec {program}", *map(shlex.quote, words), '"$@"']
    return " \\\n    ".join(lines) + "\n"


def tactic_sources_of(knobs: TensorRtOptions) -> list[str]:
    """The tactic sources that are switched on, as TensorRT names them."""
    return [] if knobs.tactic_sources == "none" else knobs.tactic_sources.upper().split("+")
