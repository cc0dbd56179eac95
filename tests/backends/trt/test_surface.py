"""The dumps of the real bindings match the documentation of each version, and are obeyed."""

from __future__ import annotations

import pytest

from tests.backends.trt.stand_in.bindings import WHEELS
from tests.backends.trt.stand_in.simulated import simulated
from tests.backends.trt.stand_in.surface import VERSIONS, surface

EIGHT, TEN, ELEVEN = frozenset({"8"}), frozenset({"10"}), frozenset({"11"})
OFFERED = {
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": EIGHT | TEN,
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": TEN | ELEVEN,
    "BuilderFlag.FP16": EIGHT | TEN,
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": EIGHT | TEN,
    "BuilderFlag.TF32": EIGHT | TEN | ELEVEN,
    "BuilderFlag.ERROR_ON_TIMING_CACHE_MISS": TEN | ELEVEN,
    "ILayer.precision": EIGHT | TEN,
    "ILayer.set_output_type": EIGHT | TEN,
    "IConvolutionLayer.set_output_type": EIGHT | TEN,
    "ILayer.metadata": EIGHT | TEN | ELEVEN,
    "Builder.build_serialized_network": EIGHT | TEN | ELEVEN,
    "Builder.platform_has_fast_fp16": EIGHT | TEN,
    "OnnxParser.get_layer_output_tensor": TEN | ELEVEN,
    "OnnxParser.supports_model": EIGHT | TEN,
    "TacticSource.CUDNN": EIGHT | TEN,
    "TacticSource.JIT_CONVOLUTIONS": EIGHT | TEN | ELEVEN,
    "init_libnvinfer_plugins": EIGHT | TEN | ELEVEN,
    "float16": EIGHT | TEN | ELEVEN,
    "int64": TEN | ELEVEN,
    "Logger.Severity.WARNING": EIGHT | TEN | ELEVEN,
}


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_offers_the_names_of_its_major_version(version: str) -> None:
    major = version.partition(".")[0]
    found = {path for path in OFFERED if surface(version).offers(path)}
    assert found == {path for path, majors in OFFERED.items() if major in majors}


def test_names_that_appeared_within_a_major_version_are_known() -> None:
    since = {
        "BuilderFlag.EDITABLE_TIMING_CACHE": "10.16.1.11",
        "ITimingCache.queryKeys": "10.16.1.11",
        "OnnxParser.supports_model_v2": "10.16.1.11",
        "IBuilderConfig.build_route": "11.4.0.106",
        "OnnxParser.set_flag": "8.6.1",
    }
    for path, first in since.items():
        offering = tuple(v for v in VERSIONS if surface(v).offers(path))
        assert offering == VERSIONS[VERSIONS.index(first) :], path


def test_there_is_a_dump_per_wheel() -> None:
    assert tuple(WHEELS) == VERSIONS
    assert [surface(v).version for v in VERSIONS] == list(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_simulation_refuses_what_the_version_lacks(version: str) -> None:
    made = simulated(version)
    trt = made.module
    config = trt.Builder(trt.Logger(trt.Logger.WARNING)).create_builder_config()
    config.avg_timing_iterations = 8
    assert config.avg_timing_iterations == 8
    with pytest.raises(AttributeError):
        config.avg_timing_iteration = 8
    with pytest.raises(AttributeError):
        config.num_optimization_profiles = 1  # read-only
    with pytest.raises(TypeError):
        config.set_timing_cache(config.create_timing_cache(b""))
    with pytest.raises(TypeError):
        config.set_timing_cache(config.create_timing_cache(b""), ignore=True)
    config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=True)
    assert not hasattr(trt, "IEngine")
    assert len(made.named("IBuilderConfig.create_timing_cache")) == 3
