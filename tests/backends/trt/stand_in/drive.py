"""Takes the backend as far as it gets with real bindings over stub libraries; prints JSON.

Run by `test_real_bindings.py` in a process in which ``import tensorrt`` gives one version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.backends.tensorrt.building.builder import EngineBuilder
from precsearch.backends.tensorrt.capabilities import import_tensorrt, probe
from precsearch.backends.tensorrt.logger import Lines, make_logger
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.core.backend import BackendOptions


def told(step: Callable[[], Any]) -> str:
    """The error that a step ends with, as ``Type: message``."""
    try:
        return f"no error: {step()!r}"
    except Exception as error:  # noqa: BLE001 - which one it is, is what is asked
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Probe, log, fail to build."""
    trt = import_tensorrt()
    caps = probe(trt)
    lines = Lines()
    logger = make_logger(trt, lines)
    logger.log(trt.ILogger.Severity.WARNING, "a  warning")
    logger.log(trt.ILogger.Severity.ERROR, "an error")
    logger.log(trt.ILogger.Severity.INFO, "nothing")
    builder = EngineBuilder(trt, caps, TensorRtOptions(), logger, lines, weak=not caps.typed)
    backend = TensorRtBackend(BackendOptions())
    model = sys.stdin.buffer.read()
    entry: list[Any] = []
    if caps.editable_cache:
        value = trt.TimingCacheValue(2**64 - 2, 0.5)
        entry = [value.tacticHash, value.timingMSec]
    json.dump(
        {
            "entry": entry,
            "caps": asdict(caps),
            "warnings": list(lines.warnings),
            "errors": list(lines.errors),
            "flags": builder._network_flags(),
            "build": told(lambda: builder.build(model, "", ())),
            "fingerprint": told(backend.fingerprint),
            "layers": sorted(trt.LayerType.__members__),
            "float": str(trt.nptype(trt.float16)),
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
