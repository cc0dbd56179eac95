"""onnxconverter-common's search for mixed precision on one model, in a process of its own.

    PYTHONPATH=.carry/peer python -m benchmarks.gpu.ort_peer JOB.json

JOB names the model, a feed, the bound, a provider and where the converted model goes. A line of
JSON a session is printed, and one at the end. With the provider ``default`` the converter judges
as its ``auto_convert_mixed_precision`` always does, on the CPU provider whatever the model is for;
with another one its function that runs a model is replaced.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

Outputs = list[np.ndarray]


def main() -> None:
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    feed = dict(np.load(job["feed"]))
    start, sessions, losses = time.monotonic(), [0], list[float]()
    plain = ort.InferenceSession

    class Counted(plain):  # type: ignore[misc,valid-type]  # it has no types
        def __init__(self, *args: object, **kwargs: object) -> None:
            sessions[0] += 1
            super().__init__(*args, **kwargs)

    def within(wanted: Outputs, found: Outputs) -> bool:
        """Relative L2 of the worst output, as precsearch's rel-l2."""
        loss = max(
            float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(a))
            for a, b in zip(wanted, found, strict=True)
        )
        losses.append(loss)
        say(loss=loss)
        return bool(loss <= job["tol"])

    def say(**more: object) -> None:
        row = {"sessions": sessions[0], "seconds": time.monotonic() - start, **more}
        print(json.dumps(row, default=str), file=answers, flush=True)

    answers = os.fdopen(os.dup(1), "w")
    vars(ort)["InferenceSession"] = Counted
    module: Any = importlib.import_module("onnxconverter_common.auto_mixed_precision")
    if job["provider"] != "default":
        own = module.get_tensor_values_using_ort

        def values(model: onnx.ModelProto, fed: Any, names: Any = None, *rest: Any) -> Outputs:  # noqa: ANN401
            if names is not None:  # types of inner tensors; it asks the CPU for those
                return list(own(model, fed, names, *rest))
            made = Counted(model.SerializeToString(), providers=[job["provider"]])
            return list(made.run(None, fed))

        module.get_tensor_values_using_ort = values
    with contextlib.redirect_stdout(sys.stderr):
        made = module.auto_convert_mixed_precision(
            onnx.load(job["model"]), feed, within, keep_io_types=True
        )
    onnx.save(made, job["output"])
    say(done=True)


if __name__ == "__main__":
    main()
