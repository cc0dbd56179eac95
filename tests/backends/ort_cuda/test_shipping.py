"""What a user gets in order to run a plan for the GPU."""

from __future__ import annotations

from precsearch.backends.onnxruntime.cuda.backend import OnnxRuntimeCudaBackend
from precsearch.core.backend import BackendOptions
from precsearch.exporters.onnxruntime import onnxruntime_script
from precsearch.exporters.script import Job


def lines(**build: str) -> str:
    return "\n".join(OnnxRuntimeCudaBackend(BackendOptions(build=build)).how_to_load("m.onnx"))


def test_the_loading_lines_have_the_provider_and_the_options_that_were_measured() -> None:
    said = lines(use_tf32="false", prefer_nhwc="true")
    assert "'use_tf32': '0'" in said
    assert "'prefer_nhwc': '1'" in said
    compile(said, "lines", "exec")


def test_a_plain_run_never_uses_a_graph_and_the_difference_is_reported() -> None:
    """A graph reads the buffers that it was captured with, whatever a plain run is given."""
    assert "'enable_cuda_graph': '0'" in lines()
    assert "timed as a CUDA graph" in lines()
    assert "CUDA graph" not in lines(enable_cuda_graph="false")


def test_an_exported_script_runs_on_the_device_of_the_plan() -> None:
    job = Job(plan="0" * 64, model="m.onnx", engine="m.engine", shapes={}, knobs=None, pins=None)  # type: ignore[arg-type]
    words = onnxruntime_script(job, "gpu").replace("\\\n", " ").split()
    assert words[words.index("--providers") + 1 :][:2] == ["cuda", "cpu"]
    assert "--providers" not in onnxruntime_script(job, "cpu")
