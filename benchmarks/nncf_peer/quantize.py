"""Quantize a model with NNCF's accuracy control, in NNCF's own environment.

    python benchmarks/nncf_peer/quantize.py MODEL DATA OUTPUT.xml --tol 1e-2

The metric is 1 less the relative L2 error over all samples against the FP32 engine: NNCF's
``max_drop`` is the bound. Prints a JSON object: how often the whole metric was evaluated, seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment] # it reports on import
import nncf  # type: ignore[import-not-found]  # noqa: E402 - after the line above
import openvino  # noqa: E402 - after the line above

CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


def feeds(model: Any, data: Path) -> list[dict[str, Any]]:  # noqa: ANN401 - no types here
    """One feed a sample, of batch 1."""
    arrays = np.load(data)
    ports = {port.any_name: port.partial_shape for port in model.inputs}
    count = min(len(arrays[name]) for name in ports)
    whole = {name: arrays[name].ndim == len(shape) + 1 for name, shape in ports.items()}
    return [
        {n: arrays[n][i] if whole[n] else arrays[n][i : i + 1] for n in ports} for i in range(count)
    ]


def main() -> None:
    """Quantize and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--tol", type=float, required=True)
    args = parser.parse_args()
    core = openvino.Core()
    core.set_property("CPU", CONFIG)
    model = core.read_model(args.model)
    samples = feeds(model, args.data)
    model.reshape({port: list(samples[0][port.any_name].shape) for port in model.inputs})
    plain = core.compile_model(model, "CPU", CONFIG)
    wanted = [[np.array(v) for v in plain(s).values()] for s in samples]
    rows = list(zip(samples, wanted, strict=True))
    count = 0

    def validate(compiled: Any, part: Iterable[Any]) -> tuple[float, list[float]]:  # noqa: ANN401
        nonlocal count
        off, size, each = [], [], []
        for sample, reference in part:
            found = [np.array(v) for v in compiled(sample).values()]
            off.append([float(((a - b) ** 2).sum()) for a, b in zip(found, reference, strict=True)])
            size.append([float((b**2).sum()) for b in reference])
            shares = (o / max(n, 1e-30) for o, n in zip(off[-1], size[-1], strict=True))
            each.append(1 - max(shares) ** 0.5)
        count += len(off) == len(rows)
        total = np.sum(off, axis=0) / np.maximum(np.sum(size, axis=0), 1e-30)
        return 1 - float(np.sqrt(total).max()), each

    begun = time.monotonic()
    made = nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(samples),
        validation_dataset=nncf.Dataset(rows),
        validation_fn=validate,
        max_drop=args.tol,
        drop_type=nncf.DropType.ABSOLUTE,
    )
    seconds = time.monotonic() - begun
    openvino.serialize(made, str(args.output))
    print(json.dumps({"evaluations": count, "seconds": seconds, "nncf": nncf.__version__}))


if __name__ == "__main__":
    main()
