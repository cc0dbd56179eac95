"""The bytes of lowered models are pinned: a change must be meant, and raises its version."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest

from tests.lowering.golden import lowered, pinned, versions

KEPT = json.loads(Path(__file__).with_name("golden.json").read_text())
MADE = dict(lowered())


def test_every_byte_of_a_lowered_model_is_unchanged() -> None:
    changed = {n: pinned(m) for n, m in MADE.items() if KEPT["digests"].get(n) != pinned(m)}
    assert not changed, "plans made before no longer reproduce: see tests/lowering/golden.py"
    assert KEPT["digests"].keys() == MADE.keys()


def test_a_new_lowering_has_a_new_name() -> None:
    assert KEPT["lowering"] == versions()


def test_assignments_differ_in_their_bytes() -> None:
    by_model: dict[str, list[str]] = {}
    for name, made in MADE.items():
        by_model.setdefault(name.rpartition(" | ")[0], []).append(made.sha256)
    assert all(len(set(digests)) == len(digests) for digests in by_model.values())


@pytest.mark.parametrize("name", sorted(MADE))
def test_golden_models_are_valid_and_open(name: str) -> None:
    data = MADE[name].model
    proto = onnx.ModelProto.FromString(data)
    onnx.checker.check_model(proto, full_check=True)
    used = {t for n in proto.graph.node for t in n.input} | {o.name for o in proto.graph.output}
    assert {t.name for t in proto.graph.initializer} <= used
    assert all(used & set(n.output) for n in proto.graph.node)
    # ONNX Runtime's optimizer makes QLinearConcat with FP16 scales, and then refuses that.
    options = ort.SessionOptions()
    if "FP16 around" in name or "TensorRT" in name:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
