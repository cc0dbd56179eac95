"""What the backend declares, and what it refuses, without a GPU."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pytest

from precsearch.backends.onnxruntime.cuda.backend import OnnxRuntimeCudaBackend
from precsearch.backends.onnxruntime.cuda.options import CudaOptions
from precsearch.backends.onnxruntime.cuda.provider import SessionRequest, load_cuda, open_session
from precsearch.cli.main import run
from precsearch.core.backend import Backend, BackendOptions, ChoosesFp32, DeclaresUse, facts_of
from precsearch.core.errors import DeviceLost, OptionError, OutOfMemory, RunError
from precsearch.core.precision import Precision
from precsearch.registry import backend_factory
from precsearch.system.cuda_driver import CudaDriver
from tests.backends.ort_cuda.stand_in import StandIn
from tests.backends.ov.small_engines import cnn
from tests.graph.small_graphs import residual_net

HAS_CUDA = "CUDAExecutionProvider" in ort.get_available_providers()


def test_it_is_a_backend_on_a_gpu() -> None:
    made = backend_factory("onnxruntime-cuda")(BackendOptions())
    assert isinstance(made, Backend)
    assert isinstance(made, ChoosesFp32)
    assert isinstance(made, DeclaresUse)
    facts = facts_of(made)
    assert (facts.device, facts.artifact_is_model) == ("gpu", True)
    assert facts.offered == {Precision.FP32, Precision.FP16}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"use_tf23": "true"}, "no build option 'use_tf23'"),
        ({"use_tf32": "perhaps"}, "use_tf32 is true or false"),
        ({"device_id": "-1"}, "device_id is a whole number"),
        ({"device_id": "9999999"}, "device_id is a whole number"),
        ({"gpu_mem_limit": "2 GB"}, "gpu_mem_limit is a whole number"),
        ({"cudnn_conv_algo_search": "fast"}, "one of exhaustive, heuristic, default"),
        ({"clock": "sun"}, "one of events, host"),
    ],
)
def test_an_invalid_option_is_refused(build: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        OnnxRuntimeCudaBackend(BackendOptions(build=build))


def test_options_reach_onnx_runtime_under_its_own_names() -> None:
    given = CudaOptions.of(
        {
            "use_tf32": "false",
            "cudnn_conv_algo_search": "heuristic",
            "prefer_nhwc": "yes",
            "gpu_mem_limit": "1000000",
            "device_id": "2",
        }
    )
    assert given.provider_options(graph=True, stream=77) == {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "prefer_nhwc": "1",
        "gpu_mem_limit": "1000000",
        "device_id": "2",
        "enable_cuda_graph": "1",
        "user_compute_stream": "77",
    }
    assert "user_compute_stream" not in given.provider_options(graph=False)


@pytest.mark.parametrize(
    ("build", "compute", "modes"),
    [
        ({}, (9, 0), ("tf32", "strict")),
        ({"use_tf32": "false"}, (8, 0), ("strict", "tf32")),
        ({}, (7, 5), ("strict",)),
    ],
)
def test_tf32_is_a_way_to_compute_fp32_from_ampere_on(
    build: dict[str, str], compute: tuple[int, int], modes: tuple[str, ...]
) -> None:
    class Gpu(StandIn):
        pass

    Gpu.compute = compute
    found = Gpu(BackendOptions(build=build)).fp32_modes()
    assert tuple(m.name for m in found) == modes
    for mode in found:
        assert CudaOptions.of(mode.build).use_tf32 == (mode.name == "tf32")


def test_bf16_needs_ampere() -> None:
    class Turing(StandIn):
        compute = (7, 5)

    wanted = {Precision.FP32, Precision.BF16}
    assert "bf16 needs compute capability 8.0" in Turing(BackendOptions()).unavailable(wanted)
    assert not Turing(BackendOptions()).unavailable({Precision.FP16})
    assert not StandIn(BackendOptions()).unavailable(wanted)


def test_a_plan_names_its_scheme_and_form() -> None:
    made = OnnxRuntimeCudaBackend(BackendOptions())
    assert made.scheme_named(made.scheme.name) is made.scheme
    assert made.form_named(made.form.name) is made.form
    with pytest.raises(OptionError, match="no quantization scheme 'trt'"):
        made.scheme_named("trt")
    with pytest.raises(OptionError, match="no graph form 'weak'"):
        made.form_named("weak")


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has its CUDA provider")
def test_without_the_provider_the_error_says_how_to_install_it() -> None:
    with pytest.raises(OptionError, match=r"no CUDA provider.*precsearch\[cuda\]"):
        load_cuda()
    with pytest.raises(OptionError, match="no CUDA provider"):
        OnnxRuntimeCudaBackend(BackendOptions()).fingerprint()


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has its CUDA provider")
def test_a_run_without_its_device_ends_before_the_reference_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(residual_net(3), tmp_path / "model.onnx")
    line = [str(tmp_path / "model.onnx"), "--backend", "onnxruntime-cuda"]
    assert run(["optimize", *line, "-o", str(tmp_path / "plan.json")]) == 2
    error = capsys.readouterr().err
    assert "no CUDA provider" in error
    assert "reference" not in error


@pytest.mark.skipif(HAS_CUDA, reason="this ONNX Runtime has its CUDA provider")
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_opens_on_the_cpu_alone_is_refused() -> None:
    """ONNX Runtime warns and goes on without a provider that does not load."""
    with pytest.raises(OptionError, match="cannot load its CUDA provider"):
        open_session(SessionRequest(cnn().SerializeToString()))


class Library:
    """CUDA's driver with one device, and a status for each function that fails."""

    def __init__(self, devices: int = 1, **failing: int) -> None:
        self._devices = devices
        self._failing = failing
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> int:
            self.called.append(name)
            if name == "cuGetErrorName":
                args[1]._obj.value = b"CUDA_ERROR_MADE_UP"
            if name == "cuDeviceGetCount":
                args[0]._obj.value = self._devices
            if name in ("cuStreamCreate", "cuEventCreate", "cuDevicePrimaryCtxRetain"):
                args[0]._obj.value = 7
            if name == "cuEventElapsedTime":
                args[0]._obj.value = 3.0
            if name == "cuDriverGetVersion":
                args[0]._obj.value = 13000
            if name == "cuDeviceGetName":
                args[0].value = b"GPU"
            return self._failing.get(name, 0)

        return call


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    return made


def test_events_time_runs_in_a_stream(library: Library) -> None:
    driver = CudaDriver()
    stream = driver.stream()
    assert stream.address == 7
    ran: list[int] = []
    assert stream.seconds(lambda: ran.append(1), 4, 3) == pytest.approx([1e-3] * 4)
    assert len(ran) == 12
    stream.wait()
    stream.close()
    assert library.called.count("cuEventRecord") == 5
    assert library.called.count("cuEventDestroy_v2") == 5
    assert library.called.count("cuStreamDestroy_v2") == 1


def test_the_device_is_read_from_the_driver(library: Library) -> None:
    found = CudaDriver().device()
    assert (found.name, found.driver, found.index) == ("GPU", "13.0", 0)


@pytest.mark.parametrize(("status", "kind"), [(2, OutOfMemory), (1, RunError), (719, DeviceLost)])
def test_a_refusal_of_the_driver_is_an_error(
    library: Library, status: int, kind: type[Exception]
) -> None:
    stream = CudaDriver().stream()
    library._failing["cuEventSynchronize"] = status
    with pytest.raises(kind, match="cuEventSynchronize: CUDA_ERROR_MADE_UP"):
        stream.seconds(lambda: None, 1)
    assert library.called.count("cuEventDestroy_v2") == 2, "events are freed all the same"


def test_a_missing_device_is_refused(library: Library) -> None:
    with pytest.raises(OptionError, match="no CUDA device 1: the driver shows 1"):
        CudaDriver(1)


def test_without_a_driver_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(OptionError, match="no CUDA driver"):
        CudaDriver()
