"""A model of 10,000 nodes and 2.5 GB of external weights, and samples for it.

``python -m benchmarks.large_model FOLDER`` writes ``large.onnx``, ``large.weights``,
``large.npz`` and ``large-holdout.npz`` there; ``--inside`` keeps the weights in the model's file.
2,000 residual blocks of two products each (MatMul, Add, Relu, MatMul, Add), wide enough for the
bytes that are wanted. Branches are scaled so that the residual stream keeps its size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

__all__ = ["write_large"]

_POOL = 1 << 24
"""Random numbers that weights are cut out of, each at a place of its own."""


def write_large(
    folder: Path,
    blocks: int = 2000,
    width: int = 400,
    samples: int = 16,
    *,
    inside: bool = False,
) -> Path:
    """Write model and samples.

    Args:
        folder: Where; it is made.
        blocks: Residual blocks, five nodes each.
        width: Channels; a block has ``8 * width ** 2`` bytes of weights.
        samples: In each of the two data files.
        inside: Keep the weights in the model's file, which then must have less than 2 GB.

    Returns:
        The model's file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    pool = rng.standard_normal(_POOL, np.float32)
    nodes, weights, offset = [], [], 0
    with (folder / "large.weights").open("wb") as file:

        def weight(name: str, shape: tuple[int, ...], scale: float) -> str:
            nonlocal offset
            size = int(np.prod(shape))
            start = int(rng.integers(0, _POOL - size))
            data = (pool[start : start + size] * np.float32(scale)).tobytes()
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
            if inside:
                tensor.raw_data = data
                weights.append(tensor)
                return name
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (
                ("location", "large.weights"),
                ("offset", str(offset)),
                ("length", str(len(data))),
            ):
                tensor.external_data.add(key=key, value=value)
            weights.append(tensor)
            file.write(data)
            offset += len(data)
            return name

        stream = "x"
        for i in range(blocks):
            up = weight(f"w{i}a", (width, width), width**-0.5)
            bias = weight(f"b{i}", (width,), 0.1)
            down = weight(f"w{i}b", (width, width), (width * blocks) ** -0.5)
            out = "y" if i == blocks - 1 else f"s{i}"
            nodes += [
                helper.make_node("MatMul", [stream, up], [f"u{i}"]),
                helper.make_node("Add", [f"u{i}", bias], [f"v{i}"]),
                helper.make_node("Relu", [f"v{i}"], [f"r{i}"]),
                helper.make_node("MatMul", [f"r{i}", down], [f"d{i}"]),
                helper.make_node("Add", [stream, f"d{i}"], [out]),
            ]
            stream = out
    shape: list[str | int | None] = ["batch", width]
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "large.onnx"
    path.write_bytes(made.SerializeToString())
    for name in ("large.npz", "large-holdout.npz"):
        np.savez(folder / name, x=rng.standard_normal((samples, width), np.float32))
    onnx.checker.check_model(str(path))
    return path


def _main() -> None:
    parser = argparse.ArgumentParser(description="Write a large model and samples for it.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--inside", action="store_true")
    given = parser.parse_args()
    print(write_large(given.folder, given.blocks, given.width, inside=given.inside))


if __name__ == "__main__":
    _main()
