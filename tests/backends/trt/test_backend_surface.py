"""The TensorRT backend uses nothing that a version lacks, unless its probe says so."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import precsearch.backends.tensorrt as backend
from precsearch.backends.tensorrt.capabilities import Caps, probe
from tests.backends.trt.stand_in.simulated import simulated
from tests.backends.trt.stand_in.surface import RTX, VERSIONS, surface
from tests.backends.trt.stand_in.touched import Touch, touches

FOLDER = Path(backend.__file__).parent
TOUCHES = touches(FOLDER, without="rtx")

NEEDS = {
    "BuilderFlag.FP16": "weak",
    "BuilderFlag.INT8": "weak",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "weak",
    "BuilderFlag.PREFER_PRECISION_CONSTRAINTS": "weak",
    "ILayer.precision": "weak",
    "ILayer.set_output_type": "weak",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": "explicit_batch",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": "typed",
    "BuilderFlag.EDITABLE_TIMING_CACHE": "editable_cache",
    "ITimingCache.queryKeys": "editable_cache",
    "ITimingCache.query": "editable_cache",
    "ITimingCache.update": "editable_cache",
    "TimingCacheValue": "editable_cache",
    "TimingCacheValue.tacticHash": "editable_cache",
    "TimingCacheValue.timingMSec": "editable_cache",
    "ComputeCapability": "targets",
    "IBuilderConfig.num_compute_capabilities": "targets",
    "IBuilderConfig.set_compute_capability": "targets",
}
"""What is there on some versions alone → the capability of `Caps` that stands for it."""

EIGHT = Caps(
    version="",
    typed=False,
    weak=True,
    explicit_batch=True,
    editable_cache=False,
)
TEN = replace(EIGHT, typed=True)
TEN_16 = replace(TEN, editable_cache=True)
ELEVEN = replace(TEN_16, weak=False, explicit_batch=False)
EXPECTED = {
    "8.6.0": EIGHT,
    "8.6.1": EIGHT,
    "10.0.1": TEN,
    "10.16.1.11": TEN_16,
    "11.0.0.114": ELEVEN,
    "11.4.0.106": ELEVEN,
}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_probe_recognizes_each_version(version: str) -> None:
    found = probe(simulated(version).module)
    assert found == replace(EXPECTED[version], version=version)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_backend_uses_no_name_that_a_version_lacks(version: str) -> None:
    caps = probe(simulated(version).module)
    lacking = [
        f"{t.where}: TensorRT {version} has no {t.path}, and no capability stands for it"
        for t in TOUCHES
        if not surface(version).offers(t.path) and getattr(caps, NEEDS.get(t.path, ""), True)
    ]
    assert lacking == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_capability_is_claimed_only_where_the_version_has_it(version: str) -> None:
    caps = probe(simulated(version).module)
    for path, capability in NEEDS.items():
        assert surface(version).offers(path) or not getattr(caps, capability), path


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_and_assignments_are_ones_that_the_version_takes(version: str) -> None:
    assert [t for t in TOUCHES if not _fits(t, version)] == []


def _fits(touch: Touch, version: str) -> bool:
    owner, _, name = touch.path.rpartition(".")
    members = surface(version).members(owner, name)
    if name == "__init__" or not members:
        return True
    if touch.written:
        return all(m.writable for m in members)
    if touch.call is None or members[0].parameters is None:
        return True
    return any(m.takes(*touch.call) for m in members)


def test_tensorrt_rtx_has_every_name_that_its_backend_uses() -> None:
    offered = surface(RTX)
    caps = Caps(
        RTX, typed=True, weak=False, explicit_batch=False, editable_cache=False, targets=True
    )
    own = touches(FOLDER / "rtx")
    assert {t.path for t in own} >= {"IRuntimeConfig.set_runtime_cache"}
    assert [
        t
        for t in (*TOUCHES, *own)
        if not offered.offers(t.path) and getattr(caps, NEEDS.get(t.path, ""), True)
    ] == []
    assert [t for t in (*TOUCHES, *own) if not _fits(t, RTX)] == []


def test_layer_types_that_are_never_set_are_real_ones() -> None:
    known = {name for v in VERSIONS for name in surface(v).enums["LayerType"]}
    tree = ast.parse((FOLDER / "building" / "precision_constraints.py").read_text())
    (never,) = (
        n.value
        for n in tree.body
        if isinstance(n, ast.Assign) and "NEVER" in getattr(n.targets[0], "id", "")
    )
    words = {n.value for n in ast.walk(never) if isinstance(n, ast.Constant)}
    assert len(words) > 10
    assert words <= known


def test_the_scan_for_used_names_finds_them() -> None:
    found = {t.path for t in TOUCHES}
    assert found >= {
        "Builder.build_serialized_network",
        "IBuilderConfig.avg_timing_iterations",
        "ITensor.is_execution_tensor",
        "ILayer.precision",
        "IExecutionContext.execute_async_v3",
        "EngineInspector.get_engine_information",
        "BuilderFlag.FP16",
        "ParserError.desc",
        "float16",
    }
    assert len(found) > 60


def test_the_scan_finds_a_name_that_a_version_lacks(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        "def build(trt, network, config):\n"
        "    flags = trt.BuilderFlag\n"
        "    config.set_flag(flags.FP16)\n"
        "    config.max_workspace_size = 1\n"
        "    for i in range(network.num_layers):\n"
        "        found = network.get_layer(i)\n"
        "        found.get_output(0).set_dynamic_range(-1, 1)\n"
        "        getattr(found, 'reset_precision')()\n"
        "    trt.Builder(trt.Logger()).build_engine(network, config)\n"
        "    config.set_timing_cache(None)\n"
    )
    found = touches(tmp_path)
    lacking = [t.path for t in found if not surface("11.4.0.106").offers(t.path)]
    assert lacking == [
        "BuilderFlag.FP16",
        "IBuilderConfig.max_workspace_size",
        "ITensor.set_dynamic_range",
        "ILayer.reset_precision",
        "Builder.build_engine",
    ]
    (call,) = (t for t in found if t.path == "IBuilderConfig.set_timing_cache")
    assert not _fits(call, "11.4.0.106")
