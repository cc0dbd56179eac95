"""Build options by name, what an installation lacks, and both generations of engine layers."""

from __future__ import annotations

import enum
import importlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from precsearch.backends.tensorrt import backend as module
from precsearch.backends.tensorrt import installed as places
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.backends.tensorrt.capabilities import import_tensorrt
from precsearch.backends.tensorrt.inspector import computed_in, read_layers, type_word
from precsearch.backends.tensorrt.options import TACTIC_SOURCES_VARIABLE, TensorRtOptions
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF, WEAK, BackendOptions, ChoosesFp32
from precsearch.core.errors import BuildError, OptionError
from precsearch.core.precision import Precision
from tests.backends.trt.simulation.test_simulated_build import lowered
from tests.backends.trt.simulation.test_simulated_run import FakeCuda, with_engine
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.simulated import Simulated


def test_options_are_read_by_their_types() -> None:
    given = {"tf32": "No", "cuda_graph": "1", "workspace_mib": "64", "layer_precisions": "all"}
    found = TensorRtOptions.of(given)
    assert (found.tf32, found.cuda_graph, found.workspace_mib, found.layer_precisions) == (
        False,
        True,
        64,
        "all",
    )
    assert found.optimization_level == TensorRtOptions().optimization_level


def test_a_build_option_is_known_by_its_old_name_too() -> None:
    assert TensorRtOptions.of({"pin": "all"}) == TensorRtOptions.of({"layer_precisions": "all"})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("speed", "high", "no build option 'speed'; use one of cuda_graph, layer_precisions"),
        ("tf32", "maybe", "tf32 is true or false, not 'maybe'"),
        ("workspace_mib", "4G", "workspace_mib is a whole number, not '4G'"),
        ("workspace_mib", "0", "workspace_mib must be from 1 to 16777216, not 0"),
        ("optimization_level", "6", "optimization_level must be from 0 to 5, not 6"),
        ("timing_iterations", "1001", "timing_iterations must be from 1 to 1000"),
        ("layer_precisions", "fp16", "layer_precisions is fp32 or all, not 'fp16'"),
    ],
)
def test_invalid_options_are_reported(name: str, value: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        TensorRtBackend(BackendOptions(build={name: value}))


def test_the_default_tactic_sources_hold_unless_others_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TACTIC_SOURCES_VARIABLE, "none")
    assert TensorRtOptions.of({}).tactic_sources == "none"
    assert TensorRtOptions.of({"tactic_sources": "cublas"}).tactic_sources == "cublas"
    monkeypatch.delenv(TACTIC_SOURCES_VARIABLE)
    assert TensorRtOptions.of({}).tactic_sources == "default"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("tensorrt"), r"needs TensorRT: pip install"),
        (ImportError("libnvinfer.so.10:\n cannot open"), r"\(libnvinfer.so.10: cannot open\)"),
        (OSError("no driver"), r"does not load \(no driver\)"),
    ],
)
def test_an_installation_that_does_not_load_is_reported_with_the_reason(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(OptionError, match=said):
        import_tensorrt()


def test_the_cuda_13_runtime_is_put_on_the_path_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tensorrt("10.0.1").module
    folder = tmp_path / "nvidia/cu13/lib"
    folder.mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "nothing"), str(tmp_path), *sys.path])
    monkeypatch.setenv("LD_LIBRARY_PATH", "/there/already")
    for _ in range(2):
        assert import_tensorrt() is made
        assert os.environ["LD_LIBRARY_PATH"].split(os.pathsep) == ["/there/already", str(folder)]


def tensors(*kinds: str, old: bool) -> list[dict[str, Any]]:
    """As one generation of the inspector writes them."""
    if not old:
        return [{"Name": "t", "Datatype": kind} for kind in kinds]
    words = {
        "Int8": "Four wide channel vectorized row major Int8 format",
        "Half": "Row major linear FP16 format",
        "Float": "Row major linear FP32",
        "Int32": "Row major Int32 format",
        "Bool": "Row major Bool",
    }
    return [{"Name": "t", "Format/Datatype": words[kind]} for kind in kinds]


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize(
    ("name", "kind", "reads", "writes", "precision"),
    [
        ("conv", "CaskConvolution", "Int8", "Int8", Precision.INT8),
        ("conv", "CaskConvolution", "Int8", "Float", Precision.INT8),
        ("conv", "CaskConvolution", "Float", "Int8", Precision.FP32),
        ("copy", "Reformat", "Int8", "Half", Precision.FP16),
        ("copy", "Reformat", "Int8", "Int8", None),
        ("gemm", "CaskGemmConvolution", "Half", "Float", Precision.FP16),
        ("gemm", "gemm", "Float", "Float", Precision.FP32),
        ("{ForeignNode[a...b]}", "Myelin", "Float", "Float", None),
        ("index", "Gather", "Int32", "Int32", None),
        ("mask", "kgen", "Bool", "Bool", None),
    ],
)
def test_what_a_layer_computes_in_is_read_from_its_tensors(
    old: bool, name: str, kind: str, reads: str, writes: str, precision: Precision | None
) -> None:
    row = {
        "Name": name,
        "LayerType": kind,
        "Inputs": tensors(reads, old=old),
        "Outputs": tensors(writes, old=old),
    }
    (layer,) = read_layers(json.dumps({"Layers": [row]}))
    assert layer.precision is precision
    usual = {"Half": "half", "Float": "float"}
    assert layer.inputs == (usual.get(reads, reads.lower()),)


@pytest.mark.parametrize(
    ("description", "word"),
    [
        ("BFloat16", "bfloat16"),
        ("Row major linear BF16", "bfloat16"),
        ("FP8", "fp8"),
        ("Int4", "int4"),
        ("FP4E2M1", "fp4"),
        ("UInt8", "uint8"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("N/A due to dynamic shapes", "n/a due to dynamic shapes"),
    ],
)
def test_a_type_is_read_by_whole_words(description: str, word: str) -> None:
    assert type_word(description) == word


@pytest.mark.parametrize(("word", "label"), [("bfloat16", "bf16"), ("fp8", "fp8")])
def test_a_layer_of_a_type_without_a_precision_has_none(word: str, label: str) -> None:
    known = {p.value: p for p in Precision}
    found = computed_in("gemm", "gemm", [word], ["float"], [word, "float"], word)
    assert found is known.get(label)


def test_a_weight_that_is_dequantized_on_the_way_makes_no_integer_product() -> None:
    fused = computed_in("x", "runtime_fusion", ["half", "int8"], ["half"], ["int8"], "int8")
    assert fused is Precision.FP16
    weight_only = computed_in("x", "runtime_fusion", ["half"], ["half"], ["half", "int4"], "int4")
    assert weight_only is Precision.INT4
    assert computed_in("x", "gemm", ["int8"], ["half"], ["float", "half"], "half") is not (
        Precision.INT8
    )


def test_the_weight_says_what_a_product_between_swallowed_casts_computes_in() -> None:
    kind, float_data, both = "runtime_fusion", ["float"], ["float", "half"]
    assert computed_in("x", kind, float_data, ["half"], both, "half") is Precision.FP16
    assert computed_in("x", kind, float_data, ["half"], both, "float") is Precision.FP32
    assert computed_in("x", kind, ["float", "half"], ["half"]) is None
    assert computed_in("x", "gemm", ["half"], ["half"], ["float"]) is Precision.FP16


def test_nodes_come_from_metadata_or_else_from_the_name() -> None:
    rows = [
        {"Name": "anything", "Metadata": "[ONNX Layer: a][ONNX Layer: b | note]"},
        {"Name": "conv1 + PWN(relu1), [add||add]"},
        "plain + PWN(PWN(s), m)",
        {"Name": "odd", "Outputs": [{"Datatype": "FP4E2M1"}], "TacticName": "k\x01ernel"},
    ]
    first, second, third, odd = read_layers(json.dumps({"Layers": rows}))
    assert first.nodes == ("a", "b")
    assert second.nodes == ("conv1", "relu1", "add")
    assert third.nodes == ("plain", "s", "m")
    assert (third.kind, third.precision) == ("", None)
    assert (odd.outputs, odd.precision) == (("fp4",), None)
    assert odd.line == " | odd |  > fp4 | kernel"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}', "not json"])
def test_an_answer_of_an_unexpected_kind_is_reported(text: str) -> None:
    with pytest.raises(BuildError, match="inspector's answer cannot be read"):
        read_layers(text)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plays a version as the one that is installed."""

    def of(made: Simulated) -> None:
        monkeypatch.setattr(places, "_LOADED", {})
        monkeypatch.setattr(module, "import_tensorrt", lambda: made.module)
        monkeypatch.setattr(places, "Cuda", FakeCuda)

    return of


@pytest.mark.parametrize(
    ("version", "form"), [("8.6.1", WEAK), ("10.0.1", TYPED_HALF), ("11.4.0.106", TYPED_HALF)]
)
def test_a_backend_builds_opens_and_describes_in_its_version_s_form(
    version: str, form: Any, installed: Any, tmp_path: Path
) -> None:
    made, _, _ = with_engine(version)
    installed(made)
    found = TensorRtBackend(BackendOptions(cache=str(tmp_path / "cache")))
    assert found.form is form
    assert found.scheme == scheme(attention=form is TYPED_HALF)
    artifact = found.build(lowered(tmp_path, form))
    assert (tmp_path / "cache").read_bytes() == b"cache"
    (line,) = found.layer_summary(artifact)
    assert line == "gemm | dense + bias | half > half | "
    session = found.open(artifact, profiled=True)
    assert session._nodes == ("first", "relu", "second", "flat", "dense", "bias", "y")
    assert found.warnings(artifact) == ()
    assert found.warnings(b"another") == ()


def test_a_version_without_precision_control_is_refused(installed: Any) -> None:
    made = tensorrt("11.0.0.114")
    made.module.__dict__["NetworkDefinitionCreationFlag"] = enum.IntEnum("Flag", ["NEW"])
    installed(made)
    with pytest.raises(OptionError, match=r"11\.\S+ can neither be told types nor precisions"):
        _ = TensorRtBackend(BackendOptions()).form


def test_an_engine_that_cannot_be_deserialized_is_reported(installed: Any) -> None:
    made, _, _ = with_engine("10.0.1")
    installed(made)
    found = TensorRtBackend(BackendOptions())
    made.behaviour["ICudaEngine.create_execution_context"] = lambda self: None
    with pytest.raises(MemoryError, match="no context for the engine"):
        found.open(b"engine")
    made.behaviour["Runtime.deserialize_cuda_engine"] = lambda self, data: None
    with pytest.raises(BuildError, match="does not take the engine: it does not say why"):
        found.open(b"engine")

    def null(self: Any, logger: Any) -> None:
        raise TypeError("factory function returned nullptr")

    made.behaviour["Runtime.__init__"] = null
    with pytest.raises(BuildError, match="TensorRT cannot start"):
        found.layer_summary(b"engine")


def test_forms_and_schemes_are_found_by_name() -> None:
    found = TensorRtBackend(BackendOptions())
    assert [found.form_named(f.name) for f in (TYPED_HALF, WEAK)] == [TYPED_HALF, WEAK]
    with pytest.raises(OptionError, match="builds from no graph form 'typed'"):
        found.form_named("typed")
    for attention in (False, True):
        made = scheme(attention=attention)
        assert found.scheme_named(made.name) == made
    with pytest.raises(OptionError, match="has no quantization scheme 's4'"):
        found.scheme_named("s4")


@pytest.mark.parametrize(
    ("compute", "given", "names"),
    [
        ("8.0", {}, ["tf32", "strict"]),
        ("9.0", {"tf32": "false"}, ["strict", "tf32"]),
        ("12.0", {"tf32": "true"}, ["tf32", "strict"]),
        ("7.5", {}, ["strict"]),
        ("7.5", {"tf32": "true"}, ["strict"]),
    ],
)
def test_tf32_is_a_way_to_compute_fp32_from_ampere_on(
    compute: str, given: dict[str, str], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace(compute=compute)
    here = SimpleNamespace(cuda=SimpleNamespace(device=lambda: device))
    monkeypatch.setattr(TensorRtBackend, "_here", here)
    made = TensorRtBackend(BackendOptions(build=given))
    assert isinstance(made, ChoosesFp32)
    modes = made.fp32_modes()
    assert [m.name for m in modes] == names
    for mode in modes:
        assert TensorRtOptions.of(mode.build).tf32 == (mode.name == "tf32")
        assert mode.significand_bits == {"tf32": 11, "strict": 24}[mode.name]
