"""Models of more than 2 GB: weights stay outside, and lowering needs less memory than they take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx

import precsearch
from tests.odd.models.large import save_large, save_products

_GIB = 1 << 30


def test_more_than_2_gb_is_searched(tmp_path: Path) -> None:
    path = save_large(tmp_path / "in")
    plan = precsearch.optimize(
        path, tol=5e-2, threads=1, max_builds=2, output=tmp_path / "p.json"
    ).plan
    engines = [t for t in plan.evidence.trials if t.fidelity == "engine"]
    assert [t.failed for t in engines] == [""] * len(engines)
    assert any(t.counts for t in engines)


_MEASURE = """
import json, resource, sys
from precsearch.backends.onnxruntime.backend import scheme
from precsearch.grouping.group import group
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.lower import Lowering
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.core.space import Precision

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
graph = prepare(read_model(sys.argv[1]))
space = group(graph, scheme(), frozenset({Precision.FP32, Precision.INT8}))
wanted = quantizable(graph, scheme(), space).values()
ranges = {t: TensorRange(-1, 1) for tensors in wanted for t in tensors}
lowered = Lowering(graph, space, scheme(), RangeScales(ranges, scheme())).lower(
    space.uniform(Precision.INT8)
)
found = {"peak": peak() - before, "asked": len(lowered.asked), "size": len(lowered.model)}
print(json.dumps(found))
"""


def test_lowering_every_weight_takes_less_than_the_model(tmp_path: Path) -> None:
    path = save_products(tmp_path, count=33, width=4096)
    size = (tmp_path / "products.weights").stat().st_size
    assert size > 2 * _GIB
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["asked"] == 33
    assert found["size"] > size / 4, "the INT8 weights are in the lowered model"
    assert found["peak"] < 0.8 * size, f"{found['peak'] / size:.2f} of the model's size"


def test_small_external_weights_survive_a_raised_operator_set(tmp_path: Path) -> None:
    path = save_large(tmp_path, size=1 << 20)
    model = onnx.load(path, load_external_data=False)
    model.opset_import[0].version = 11
    path.write_bytes(model.SerializeToString())
    plan = precsearch.optimize(
        path, tol=5e-2, threads=1, max_builds=2, output=tmp_path / "p.json"
    ).plan
    assert plan.evidence.accuracy.loss < 5e-2
