"""How steady a time is: CUDA events with and without a graph, and Polygraphy's own timer.

    python benchmarks/gpu/timing.py --generators DIR -o OUT

The same engine (ResNet18-like, batch 32, FP16) is timed ten times by each; also what a timing cache
saves, kept as an object and passed on as bytes.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.backends.tensorrt.building.builder import EngineBuilder
from precsearch.core.backend import Array, BackendOptions
from precsearch.lowering.engines.annotate import METADATA_KEY

REPEATS = 10
RUNS = 100


def spread(values: list[float]) -> dict[str, float]:
    """Median and the distance of the extremes, in percent of it."""
    middle = median(values)
    return {"ms": middle, "spread_percent": 100 * (max(values) - min(values)) / middle}


def ours(backend: TensorRtBackend, engine: bytes, feed: dict[str, Array]) -> list[float]:
    """Ten medians of a session of ours."""
    session = backend.open(engine)
    session.time(feed, RUNS)
    found = [median(session.time(feed, RUNS)) * 1e3 for _ in range(REPEATS)]
    session.close()
    return found


def polygraphy(engine: bytes, feed: dict[str, Array]) -> list[float]:
    """Ten medians of Polygraphy's runner: host time, copies included."""
    loader = importlib.import_module("polygraphy.backend.trt")
    found = []
    with loader.TrtRunner(loader.EngineFromBytes(engine)) as runner:
        for _ in range(REPEATS + 1):
            times = []
            for _ in range(RUNS):
                runner.infer(feed, check_inputs=False)
                times.append(runner.last_inference_time() * 1e3)
            found.append(median(times))
    return found[1:]


def half(model: bytes, names: list[str]) -> bytes:
    """The model with every node allowed to run in FP16."""
    proto = onnx.load_model_from_string(model)
    notes = {"fp16": sorted(names), "free": []}
    proto.metadata_props.add(key=METADATA_KEY, value=json.dumps(notes, sort_keys=True))
    return bytes(proto.SerializeToString())


def caches(backend: TensorRtBackend, model: bytes) -> dict[str, Any]:
    """Build seconds: cold, with the same cache object, and with its bytes in a new builder."""
    builder: EngineBuilder = backend._builder

    def seconds(made: EngineBuilder) -> float:
        start = time.monotonic()
        made.build(model, "", ())
        return time.monotonic() - start

    found: dict[str, Any] = {"cold": seconds(builder), "same object": seconds(builder)}
    data = builder.cache_bytes()
    found["bytes"] = len(data)
    kept = Path(tempfile.mkdtemp()) / "build.cache"
    kept.write_bytes(data)
    here = backend._here
    other = EngineBuilder(
        here.trt,
        here.caps,
        backend.knobs,
        here.logger,
        here.lines,
        weak=backend.form.annotated,
        kept=kept,
    )
    found["from bytes"] = seconds(other)
    found["said"] = [*here.lines.errors[-3:], *here.lines.warnings[-3:]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generators", type=Path, default=Path())
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(args.generators.resolve()))
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "resnet.onnx"
    onnx.save(importlib.import_module("gen_gpu_resnet").cnn(B=32), path)
    model = half(path.read_bytes(), [n.name for n in onnx.load(str(path)).graph.node])
    path.unlink()
    x = np.random.default_rng(1).standard_normal((32, 3, 224, 224)).astype(np.float32)
    feed: dict[str, Array] = {"x": x}
    backend = TensorRtBackend(BackendOptions())
    found: dict[str, Any] = {"timing cache, ResNet": caches(backend, model)}
    engine = backend.build(model)
    plain = TensorRtBackend(BackendOptions(build={"cuda_graph": "false"}))
    found["CUDA events and graph"] = spread(ours(backend, engine, feed))
    found["CUDA events alone"] = spread(ours(plain, engine, feed))
    found["Polygraphy's TrtRunner"] = spread(polygraphy(engine, feed))
    vit = importlib.import_module("gen_gpu_vit").vit(batch=8, depth=2)
    fresh = TensorRtBackend(BackendOptions())
    names = [n.name for n in vit.graph.node]
    found["timing cache, transformer"] = caches(fresh, half(vit.SerializeToString(), names))
    (args.output / "timing.json").write_text(json.dumps(found, indent=1))
    for name, row in found.items():
        print(name, row)


if __name__ == "__main__":
    main()
