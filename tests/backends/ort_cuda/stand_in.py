"""The CUDA backend with ONNX Runtime's CPU provider in the place of a GPU.

It shows lowering, binding, profiles and errors. Its times and its FP16 say nothing about a GPU.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from precsearch import registry
from precsearch.backends.onnxruntime.cuda.backend import OnnxRuntimeCudaBackend
from precsearch.backends.onnxruntime.cuda.provider import Provider
from precsearch.core.backend import BackendOptions
from precsearch.system.cuda_driver import CudaDevice
from precsearch.system.disturbance import NoWatch, Watch

CPU = Provider("CPUExecutionProvider", "cpu")
COMPUTE = (9, 0)
NAME = "onnxruntime-cuda-stand-in"


class StandIn(OnnxRuntimeCudaBackend):
    """Its device is made up."""

    name = NAME

    provider = CPU
    compute = COMPUTE
    facts = replace(OnnxRuntimeCudaBackend.facts, clock_ramps_up=False)

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(options)
        device = CudaDevice(0, "no GPU", self.compute, 1, 1 << 30, "13.0")
        # Attributes of the instance stand in for the cached properties of the same name.
        vars(self)["_driver"] = SimpleNamespace(device=lambda: device)
        vars(self)["_stream"] = None

    def watch(self) -> Watch:
        return NoWatch()


def installed() -> str:
    """Add it to the backends that can be named; its name."""
    registry._BACKENDS[NAME] = f"{__name__}:StandIn"
    return NAME
