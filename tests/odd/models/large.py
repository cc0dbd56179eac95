"""A model of more than 2 GB whose weights are a hole in a sparse file."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

__all__ = ["save_large", "save_products"]

_WIDTH = 64


def _external(
    name: str, rows: int, columns: int, offset: int, location: str = "large.weights"
) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, columns])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location),
        ("offset", offset),
        ("length", rows * columns * 4),
    ):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def save_large(folder: Path, size: int = (2 << 30) + (64 << 20)) -> Path:
    """An embedding of ``size`` bytes and three layers after it; returns the model's path.

    The table is zeros but takes no room on the disk; the layers are small, with a bias inside the
    model, so that the outputs are not all zero.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = size // (_WIDTH * 4)
    weights = [_external("table", rows, _WIDTH, 0)]
    biases, nodes = [], [helper.make_node("Gather", ["table", "ids"], ["x0"])]
    for i in range(3):
        weights.append(_external(f"w{i}", _WIDTH, _WIDTH, size + i * _WIDTH * _WIDTH * 4))
        biases.append(helper.make_tensor(f"b{i}", TensorProto.FLOAT, [_WIDTH], [0.5] * _WIDTH))
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"p{i}"]))
        nodes.append(helper.make_node("Add", [f"p{i}", f"b{i}"], [f"x{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("x3", TensorProto.FLOAT, ["batch", 4, _WIDTH])],
        initializer=[*weights, *biases],
    )
    return _save(graph, folder, "large.weights", size + 3 * _WIDTH * _WIDTH * 4)


def save_products(folder: Path, count: int, width: int) -> Path:
    """``count`` products in a row, with square weights of ``width``; returns the model's path."""
    weights, nodes = [], []
    for i in range(count):
        offset = i * width * width * 4
        weights.append(_external(f"w{i}", width, width, offset, "products.weights"))
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info(f"x{count}", TensorProto.FLOAT, [1, width])],
        initializer=weights,
    )
    return _save(graph, folder, "products.weights", count * width * width * 4)


def _save(graph: onnx.GraphProto, folder: Path, location: str, size: int) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with (folder / location).open("wb") as file:
        file.truncate(size)
    return path
