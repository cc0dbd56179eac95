"""Builds typed models at random assignments: shape and type errors of ONNX Runtime's own fusions.

    python -m benchmarks.gpu.ort_random_typed MODEL … [-n 20] [--granularity group] [--cuda]

MODEL is a file, or a name of `benchmarks.gpu.ort_models`. Norms stay as the exporter wrote them:
the rewrite that a search makes first is left out. Each model is lowered as for the CUDA provider at
N random assignments of FP32 and FP16, opened with every optimization and run once on zeros. Without
``--cuda`` the CPU provider stands in: most of its fusions are the same code, its kernels are not. A
line a failure.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

from benchmarks.gpu.ort_models import STORIES
from precsearch.backends.onnxruntime.cuda.backend import OnnxRuntimeCudaBackend
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.errors import PrecsearchError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from tests.backends.ort_cuda.stand_in import StandIn

BOTH = frozenset({Precision.FP32, Precision.FP16})


def lowering_of(model: Path, backend: OnnxRuntimeCudaBackend, granularity: str) -> Lowering:
    """What lowers a model for the backend."""
    graph = prepare(read_model(model), backend.form.min_opset)
    space = group(graph, backend.scheme, BOTH, granularity, backend.form)
    scales = RangeScales({}, backend.scheme)
    return Lowering(graph, space, backend.scheme, scales, backend.form)


def drawn(lowering: Lowering, rng: random.Random) -> Assignment:
    """Each group in FP16 with a probability that is drawn first."""
    share = rng.choice((0.1, 0.5, 0.9))
    space = lowering.space
    asked = {g.key: Precision.FP16 for g in space.free if rng.random() < share}
    return space.canonical(Assignment.of(asked))


def zeros(model: bytes) -> Feed:
    """One feed, open dimensions 1."""
    feed: dict[str, np.ndarray] = {}
    for value in onnx.load_model_from_string(model).graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or 1 for d in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        feed[value.name] = np.zeros(shape, dtype)
    return feed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--carry", type=Path, default=Path(".carry"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("-n", "--number", type=int, default=20)
    parser.add_argument("--granularity", default="group")
    parser.add_argument("--cuda", action="store_true")
    args = parser.parse_args()
    kind = OnnxRuntimeCudaBackend if args.cuda else StandIn
    backend = kind(BackendOptions(build={"enable_cuda_graph": "false"}))
    args.work.mkdir(parents=True, exist_ok=True)
    for given in args.models:
        made = given in STORIES
        path = STORIES[given](args.carry, args.work).model if made else Path(given)
        lowering, rng = lowering_of(path, backend, args.granularity), random.Random(0)
        failures, repaired = Counter[str](), 0
        for _ in range(args.number):
            model = lowering.lower(drawn(lowering, rng)).model
            try:
                session = backend.open(model)
                session.run(zeros(model))
                session.close()
                repaired += bool(backend.warnings(model))
            except PrecsearchError as error:
                failures[f"{type(error).__name__}: {error}"] += 1
        name = given if made else path.parent.name
        said = f"{failures.total()} of {args.number} fail, {repaired} open without a fusion"
        print(f"{name}: {said}", flush=True)
        for text, count in failures.most_common(5):
            print(f"  {count} times: {text[:300]}", flush=True)


if __name__ == "__main__":
    main()
