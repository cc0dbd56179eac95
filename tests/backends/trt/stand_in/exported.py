"""What the tests of exported scripts share: models, a program that writes its arguments down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx

from tests.backends.trt.simulation.test_simulated_build import small_model

MIXED = {"first": "fp16", "relu": "fp16", "second": "int8", "dense": "fp16"}
ODD = {"second": "int8", "fi,rst": "fp16"}
HELP = {
    "8": "--fp16 --int8 --precisionConstraints=spec --layerPrecisions=spec",
    "10": "--fp16 --int8 --stronglyTyped --layerPrecisions=spec",
    "11": "--onnx=<file> --tuneBuildRoutes",
}


def open_model() -> onnx.ModelProto:
    """The small model with an open batch."""
    model = small_model()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def odd_model() -> onnx.ModelProto:
    """The small model with tensors, and so nodes, of names that trtexec cannot be told."""
    model = small_model()
    odd = {"first": "fi,rst", "relu": "a:0", "dense": "den 'se'", "bias": "bi*as"}
    for node in model.graph.node:
        node.input[:] = [odd.get(t, t) for t in node.input]
        node.output[:] = [odd.get(t, t) for t in node.output]
    return model


def ran(script: Path, offered: str, folder: Path) -> tuple[int, list[str], str]:
    """Exit code, arguments and stderr of a script whose program writes its arguments down."""
    folder.mkdir(exist_ok=True)
    program = folder / "program"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"print({offered!r}) if '--help' in sys.argv else "
        f"open({str(folder / 'words')!r}, 'w').write(json.dumps(sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    (folder / "polygraphy").unlink(missing_ok=True)
    (folder / "polygraphy").symlink_to(program)
    (folder / "words").unlink(missing_ok=True)
    environment = {
        **os.environ,
        "TRTEXEC": str(program),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    words = folder / "words"
    return done.returncode, json.loads(words.read_text()) if words.exists() else [], done.stderr


def option(words: list[str], name: str) -> str:
    (value,) = (w.partition("=")[2] for w in words if w.startswith(f"--{name}="))
    return value


def as_trtexec_reads(spec: str) -> dict[str, str]:
    """Separated at commas, and at the last colon."""
    return dict(part.rsplit(":", 1) for part in spec.split(","))
