"""Opening, running, timing and profiling an engine reaches nothing that a version lacks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from precsearch.backends.tensorrt.inspector import engine_layers
from precsearch.backends.tensorrt.runtime.engine import TensorRtSession
from precsearch.core.precision import Precision
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.simulated import Simulated
from tests.backends.trt.stand_in.surface import VERSIONS

SHAPES = {"x": (2, 3), "y": (2, 4)}
HALF = {"8": "Row major linear FP16 format", "10": "Row major linear FP16 format"}


@dataclass
class FakeCuda:
    """Memory in a dictionary, time that goes by a millisecond an event."""

    memory: dict[int, Any] = field(default_factory=dict)
    launched: int = 0

    def stream(self) -> int:
        return 7

    def allocate(self, size: int) -> int:
        self.memory[len(self.memory) + 1] = bytes(size)
        return len(self.memory)

    def upload(self, address: int, array: Any, stream: Any) -> None:
        assert len(self.memory[address]) >= array.nbytes
        self.memory[address] = array.tobytes()

    def download(self, array: Any, address: int, stream: Any) -> None:
        array.fill(3)

    def events(self, count: int) -> list[int]:
        return list(range(count))

    def seconds(self, events: list[int]) -> list[float]:
        return [1e-3] * (len(events) - 1)

    def end_capture(self, stream: Any) -> str:
        return "graph"

    def launch(self, graph: Any, stream: Any) -> None:
        self.launched += 1

    def free(self, *args: Any) -> None:
        pass

    wait = record = begin_capture = close_events = close_graph = close_stream = free


def with_engine(version: str) -> tuple[Simulated, Any, Any]:
    """A TensorRT with an engine of two tensors and one layer."""
    made = tensorrt(version)
    trt = made.module
    names = tuple(SHAPES)
    eleven = version.startswith("11")
    kind = {"Datatype": "Half"} if eleven else {"Format/Datatype": HALF["8"]}
    tensors = [{"Name": "t", "Dimensions": [2, 3], **kind}]
    row = {"Name": "dense", "LayerType": "gemm", "Inputs": tensors, "Outputs": tensors}
    row["Metadata"] = "[ONNX Layer: dense][ONNX Layer: bias]"

    def ran(context: Any, stream: int) -> bool:
        if profiler := context.__dict__.get("_profiler"):
            profiler.report_layer_time("dense", 0.5)
        return True

    made.behaviour.update(
        {
            "ICudaEngine.num_io_tensors": lambda self: len(names),
            "ICudaEngine.num_optimization_profiles": lambda self: 1,
            "ICudaEngine.get_tensor_name": lambda self, index: names[index],
            "ICudaEngine.get_tensor_mode": lambda self, name: (
                trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT
            ),
            "ICudaEngine.get_tensor_dtype": lambda self, name: trt.float32,
            "ICudaEngine.get_tensor_profile_shape": lambda self, name, index: [SHAPES[name]] * 3,
            "ICudaEngine.create_engine_inspector": lambda self: made.make("EngineInspector"),
            "EngineInspector.get_engine_information": lambda self, kind: json.dumps(
                {"Layers": [row], "Bindings": list(names)}
            ),
            "IExecutionContext.get_tensor_shape": lambda self, name: SHAPES[name],
            "IExecutionContext.execute_async_v3": ran,
            "nptype": lambda self, kind: np.float32,
        }
    )
    engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(b"engine")
    return made, engine, engine.create_execution_context()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_runs_times_and_profiles(version: str) -> None:
    made, engine, context = with_engine(version)
    cuda: Any = FakeCuda()
    layers = engine_layers(made.module, engine, context)
    session = TensorRtSession(made.module, cuda, engine, context, layers, ("dense", "bias"))
    feed = {"x": np.ones((2, 3), np.float32)}
    assert session.run(feed)["y"].tolist() == [[3.0] * 4] * 2
    assert session.time(feed, 4) == [1e-3] * 4
    assert cuda.launched > 4
    kernels = [k for k in session.profile(feed, 3) if k.nodes]
    assert [k.nodes for k in kernels] == [("dense", "bias")]
    assert kernels[0].precision is Precision.FP16
    assert kernels[0].seconds == pytest.approx(0.5e-3)
    session.close()
    addresses = {name for name, _ in made.named("IExecutionContext.set_tensor_address")}
    assert addresses == set(SHAPES)
