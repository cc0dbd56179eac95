"""What the backend declares, with and without OpenVINO and whatever the device lists."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from precsearch.backends.openvino import OpenVinoBackend
from precsearch.backends.openvino import capabilities as module
from precsearch.backends.openvino.capabilities import DeviceCapabilities
from precsearch.backends.openvino.inspector import achieved_precision
from precsearch.backends.openvino.options import OpenVinoOptions
from precsearch.backends.openvino.runtime import import_openvino, openvino_core
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision


def backend(**build: str) -> OpenVinoBackend:
    return OpenVinoBackend(BackendOptions(threads=1, build=build))


def test_precisions_are_those_that_the_device_lists() -> None:
    plain = DeviceCapabilities("2026.4.1", "a CPU", ("BIN", "FP32", "WINOGRAD"))
    assert plain.precisions == {Precision.FP32}
    quick = DeviceCapabilities("2026.4.1", "a CPU", ("BF16", "FP32", "INT8"))
    assert quick.precisions == {Precision.FP32, Precision.BF16, Precision.INT8}
    arm = DeviceCapabilities("2026.4.1", "an Arm CPU", ("FP16", "FP32", "INT8"))
    assert arm.precisions == {Precision.FP32, Precision.FP16, Precision.INT8}


def test_a_device_without_bf16_and_int8_is_not_asked_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {"FULL_DEVICE_NAME": "a CPU", "OPTIMIZATION_CAPABILITIES": ["FP32", "BIN"]}
    core = SimpleNamespace(get_property=lambda _, name: said[name], available_devices=["CPU"])
    monkeypatch.setattr(module, "openvino_core", lambda: core)
    assert backend().precisions == {Precision.FP32}
    assert backend().refusal == "the device CPU lists BIN, FP32"
    assert backend().form.min_opset == 13, "which is only raised for BF16"


def test_a_missing_device_is_named_beside_the_available_ones() -> None:
    with pytest.raises(OptionError, match=r"no device 'GPU\.7' here .* it has CPU"):
        backend(device="GPU.7").fingerprint()
    assert Precision.INT8 in backend(device="GPU.7").precisions


def test_without_openvino_a_plan_can_be_lowered_and_running_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    openvino_core.cache_clear()
    try:
        assert {Precision.FP32, Precision.BF16, Precision.INT8} < backend().precisions
        assert backend().scheme_named("ov-u8s8-7").weight("Conv", Precision.INT8).reduced
        with pytest.raises(OptionError, match=r"pip install 'precsearch\[openvino\]'"):
            backend().fingerprint()
    finally:
        openvino_core.cache_clear()


def test_a_library_that_does_not_load_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def broken(name: str) -> None:
        raise ImportError(f"lib{name}.so: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "openvino")
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(OptionError, match=r"does not load .*cannot open shared object"):
        import_openvino()


def test_names_of_schemes_and_forms_of_other_machines_are_known_and_others_refused() -> None:
    made = backend()
    assert made.form_named(made.form.name) == made.form
    assert made.scheme_named(made.scheme.name) == made.scheme
    with pytest.raises(OptionError, match="quantization scheme"):
        made.scheme_named("trt-s8s8")
    with pytest.raises(OptionError, match="graph form"):
        made.form_named("weak")


def test_build_options_are_checked_by_name_and_value() -> None:
    found = OpenVinoOptions.of({"device": "gpu.1", "streams": "4", "pinning": "Yes"})
    assert found == OpenVinoOptions("GPU.1", 4, pinning=True)
    for given, said in (
        ({"stream": "1"}, "use one of device, pinning, streams"),
        ({"streams": "0"}, "from 1 to 1024"),
        ({"streams": "many"}, "from 1 to 1024"),
        ({"pinning": "perhaps"}, "true or false"),
        ({"device": "CPU;rm"}, "a name such as CPU"),
    ):
        with pytest.raises(OptionError, match=said):
            OpenVinoOptions.of(given)


@pytest.mark.parametrize(
    ("kind", "kernel", "computes", "precision"),
    [
        ("Convolution", "brgconv_avx512_I8", "u8", "int8"),
        ("Convolution", "jit_avx512_f32", "f32", "fp32"),
        ("Eltwise", "jit_avx512_i8", "i8", "int8"),
        ("MVN", "unknown", "f32", "fp32"),
        ("Convolution", "brgconv_avx512_bf16", "bf16", "bf16"),
        ("MatMul", "gemm_any_f16", "f16", "fp16"),
        ("Reorder", "jit_uni_f32", "f32", None),
        ("ShapeOf", "unknown_i32", "i32", None),
    ],
)
def test_a_kernels_name_or_type_says_what_it_computes_in(
    kind: str, kernel: str, computes: str, precision: str | None
) -> None:
    found = achieved_precision(kind, kernel, computes)
    assert (None if found is None else found.value) == precision
