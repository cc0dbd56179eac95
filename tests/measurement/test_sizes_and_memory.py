"""What a model takes on disk, group by group, and what a process needs to run something."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from precsearch.measurement.sizes import group_bytes, shipped_bytes
from precsearch.system.memory import peak_growth


def model(*, external: bool = False) -> bytes:
    """Two products with weights of 4 kB in FP32 and 1 kB in INT8, which share one of 8 bytes."""
    weights: dict[str, npt.NDArray[np.generic]] = {
        "float": np.zeros((32, 32), np.float32),
        "whole": np.zeros((32, 32), np.int8),
        "both": np.zeros(2, np.float32),
        "nobody": np.zeros(5, np.float32),
    }
    tensors = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    if external:
        tensors[0].ClearField("raw_data")
        tensors[0].data_location = onnx.TensorProto.EXTERNAL
        tensors[0].external_data.add(key="location", value="weights")
    nodes = [
        helper.make_node("Custom", ["x", "float", "both"], ["y"], "first"),
        helper.make_node("Custom", ["y", "whole", "both"], ["z"], "second"),
        helper.make_node("Custom", ["z", "nobody"], ["out"], "third"),
    ]
    graph = helper.make_graph(nodes, "g", [], [], tensors)
    made: bytes = helper.make_model(graph).SerializeToString()
    return made


def test_constants_count_for_the_group_of_the_node_that_reads_them_first() -> None:
    assert group_bytes(model(), {"first": "a", "second": "b"}) == {"a": 4104, "b": 1024}
    assert group_bytes(model(external=True), {"first": "a"}) == {"a": 4104}


def test_weights_in_a_file_beside_the_model_are_shipped_too() -> None:
    whole, apart = model(), model(external=True)
    assert shipped_bytes(whole, whole, artifact_is_model=True) == len(whole)
    assert shipped_bytes(apart, apart, artifact_is_model=True) == len(apart) + 4096
    assert shipped_bytes(b"engine", apart, artifact_is_model=False) == 6


def test_the_peak_counts_though_the_memory_is_given_back() -> None:
    def run() -> None:
        np.ones(64 << 20, np.uint8).sum()  # 64 MiB

    assert 60 << 20 <= peak_growth(run) < 200 << 20
    assert peak_growth(lambda: None) < 8 << 20
