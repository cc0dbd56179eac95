"""Small models after public reports: a greedy decoder, a detector with TopK, a merged decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["detector", "greedy_decoder", "merged_decoder", "pictures"]

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Value = tuple[str, int, Sequence[int | str] | None]


class Net:
    """Nodes and weights of a graph that is being made."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, value: npt.ArrayLike) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def normal(self, *shape: int, gain: float = 1.0) -> str:
        return self.weight((self.rng.standard_normal(shape) * gain).astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.weight(np.array(values, np.int64))

    def node(self, kind: str, inputs: Sequence[str], *outputs: str, **more: Any) -> str:
        made = list(outputs) or [f"{kind.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, made, name=f"n{len(self.nodes)}", **more))
        return made[0]

    def conv(self, x: str, before: int, after: int, stride: int = 1) -> str:
        kernel = self.normal(after, before, 3, 3, gain=float(np.sqrt(2 / (9 * before))))
        bias = self.normal(after, gain=0.1)
        made = self.node(
            "Conv", [x, kernel, bias], kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2
        )
        return self.node("Relu", [made])

    def linear(self, x: str, before: int, after: int) -> str:
        made = self.node("MatMul", [x, self.normal(before, after, gain=1 / np.sqrt(before))])
        return self.node("Add", [made, self.normal(after, gain=0.1)])

    def save(self, path: Path, inputs: Sequence[Value], outputs: Sequence[Value]) -> Path:
        graph = helper.make_graph(
            self.nodes, "g", list(map(_info, inputs)), list(map(_info, outputs)), self.weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, str(path))
        return path


def _info(value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(*value)


def pictures(path: Path, seed: int, count: int) -> Path:
    """Smooth random pictures."""
    x = np.random.default_rng(seed).standard_normal((count, 3, 40, 40)).astype(np.float32)
    for axis in (2, 3):
        x = sum((np.roll(x, i, axis) for i in range(5)), np.zeros_like(x)) / np.sqrt(5)
    np.savez(path, x=np.ascontiguousarray(x[:, :, 4:-4, 4:-4]).astype(np.float32))
    return path


def greedy_decoder(path: Path) -> Path:
    """Convolutions, then a Loop that decodes six tokens; a small error may flip one."""
    net = Net(26)
    x = net.conv(net.conv(net.conv("x", 3, 32, 2), 32, 32), 32, 32)
    state = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    decode, logits = net.normal(32, 32, gain=0.3), net.normal(32, 12)
    table = net.normal(12, 32)
    node = helper.make_node
    branches = [
        helper.make_graph([node(kind, ["hm"], [kind])], kind, [], [_info((kind, FLOAT, [1, 32]))])
        for kind in ("Tanh", "Relu")
    ]
    body = helper.make_graph(
        [
            node("Gather", [table, "token"], ["embedded"]),
            node("MatMul", ["state", decode], ["moved"]),
            node("Add", ["moved", "embedded"], ["hm"]),
            node("Constant", [], ["zero"], value_int=0),
            node("Equal", ["step", "zero"], ["first"]),
            node("If", ["first"], ["next"], then_branch=branches[0], else_branch=branches[1]),
            node("MatMul", ["next", logits], ["scores"]),
            node("ArgMax", ["scores"], ["chosen"], axis=1, keepdims=0),
            node("Identity", ["on"], ["still"]),
            node("Identity", ["chosen"], ["scanned"]),
        ],
        "body",
        [
            _info(("step", INT64, [])),
            _info(("on", BOOL, [])),
            _info(("state", FLOAT, [1, 32])),
            _info(("token", INT64, [1])),
        ],
        [
            _info(("still", BOOL, [])),
            _info(("next", FLOAT, [1, 32])),
            _info(("chosen", INT64, [1])),
            _info(("scanned", INT64, [1])),
        ],
    )
    count, on = net.weight(np.array(6, np.int64)), net.weight(np.array(True))
    net.node("Loop", [count, on, state, net.ints(0)], "hidden", "last", "tokens", body=body)
    outputs: list[Value] = [("tokens", INT64, [6, 1]), ("hidden", FLOAT, [1, 32])]
    return net.save(path, [("x", FLOAT, [1, 3, 32, 32])], outputs)


def detector(path: Path) -> Path:
    """Boxes and classes of queries; TopK picks twelve, and near ties swap in INT8."""
    net, queries, width, classes = Net(20), 40, 48, 6
    x = net.conv(net.conv(net.conv("x", 3, 32, 2), 32, 32), 32, width)
    flat = net.node("Reshape", [x, net.ints(0, width, 256)])
    x = net.node("Transpose", [flat], perm=[0, 2, 1])
    asked = net.normal(1, queries, width)
    keys = net.node("Transpose", [net.linear(x, width, width)], perm=[0, 2, 1])
    weights = net.node("Softmax", [net.node("MatMul", [asked, keys])], axis=-1)
    found = net.node("MatMul", [weights, net.linear(x, width, width)])
    scores = net.node("Sigmoid", [net.linear(found, width, classes)])
    boxes = net.node("Sigmoid", [net.linear(found, width, 4)])
    every = net.node("Reshape", [scores, net.ints(0, queries * classes)])
    net.node("TopK", [every, net.ints(12)], "scores", "index", axis=1)
    count = net.weight(np.array(classes, np.int64))
    net.node("Mod", ["index", count], "labels")
    query = net.node("Unsqueeze", [net.node("Div", ["index", count]), net.ints(2)])
    four = net.node("Expand", [query, net.ints(1, 1, 4)])
    net.node("GatherElements", [boxes, four], "boxes", axis=1)
    outputs: list[Value] = [
        ("scores", FLOAT, ["N", 12]),
        ("labels", INT64, ["N", 12]),
        ("boxes", FLOAT, ["N", 12, 4]),
    ]
    return net.save(path, [("x", FLOAT, ["N", 3, 32, 32])], outputs)


def merged_decoder(path: Path) -> tuple[Path, Mapping[str, npt.NDArray[Any]]]:
    """All layers are in the two branches of one If."""
    net, width = Net(31), 64
    net.node("Gather", [net.normal(80, width), "ids"], "embedded")
    branches = []
    for name in ("past", "first"):
        inner = Net(len(name))
        x = "embedded"
        for _ in range(2):
            y = inner.node("Relu", [inner.linear(x, width, 128)])
            x = inner.node("Add", [x, inner.linear(y, 128, width)])
        for node in inner.nodes:
            node.input[:] = [_renamed(name, i) for i in node.input]
            node.output[:] = [_renamed(name, o) for o in node.output]
        for weight in inner.weights:
            weight.name = _renamed(name, weight.name)
        net.weights += inner.weights
        end = _info((_renamed(name, x), FLOAT, None))
        branches.append(helper.make_graph(inner.nodes, name, [], [end]))
    net.node("If", ["cached"], "logits", then_branch=branches[0], else_branch=branches[1])
    inputs: list[Value] = [("ids", INT64, ["batch", 32]), ("cached", BOOL, [1])]
    net.save(path, inputs, [("logits", FLOAT, ["batch", 32, width])])
    rng = np.random.default_rng(5)
    cached = rng.integers(0, 2, (16, 1)) > 0
    return path, {"ids": rng.integers(0, 80, (16, 1, 32)), "cached": cached}


def _renamed(branch: str, name: str) -> str:
    return name if name == "embedded" else f"{branch}_{name}"
