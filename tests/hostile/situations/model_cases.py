"""Models that should not be trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.hostile.situations.throw import Case, Make
from tests.hostile.situations.world import model

__all__ = ["MODEL_CASES"]

LINE = "inspect model.onnx"
_EXTERNAL = onnx.TensorProto.EXTERNAL


def wrote(content: bytes, line: str = LINE) -> Make:
    """``model.onnx`` with these bytes."""

    def make(folder: Path) -> str:
        (folder / "model.onnx").write_bytes(content)
        return line

    return make


def edited(edit: Callable[[onnx.ModelProto], object], line: str = LINE) -> Make:
    """``model.onnx`` after an edit."""

    def make(folder: Path) -> str:
        changed = model()
        edit(changed)
        (folder / "model.onnx").write_bytes(changed.SerializeToString())
        return line

    return make


def external(location: str, prepare: Callable[[Path], object] | None = None, **more: int) -> Make:
    """A model whose matrix lies in another file."""

    def make(folder: Path) -> str:
        changed = model()
        tensor = changed.graph.initializer[1]
        _move(tensor, location.replace("FOLDER", str(folder)), **more)
        (folder / "model.onnx").write_bytes(changed.SerializeToString())
        if prepare is not None:
            prepare(folder)
        return LINE

    return make


def _move(tensor: onnx.TensorProto, location: str, **more: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = _EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))


def in_function(folder: Path) -> str:
    """A function's body is as good a place to hide a path."""
    changed = model()
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "hidden")
    _move(tensor, "/etc/hostname")
    body = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        helper.make_node("Add", ["a", "c"], ["b"]),
    ]
    opsets = [helper.make_opsetid("", 17)]
    changed.functions.append(helper.make_function("local", "F", ["a"], ["b"], body, opsets))
    changed.opset_import.append(helper.make_opsetid("local", 1))
    (folder / "model.onnx").write_bytes(changed.SerializeToString())
    return LINE


def in_bare_branch(folder: Path) -> str:
    """A branch without nodes gives out one of its initializers."""
    changed = model()
    branches = {}
    for name in ("then_branch", "else_branch"):
        tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
        _move(tensor, "../../etc/hostname")
        value = helper.make_tensor_value_info("w", 1, [3])
        branches[name] = helper.make_graph([], name, [], [value], [tensor])
    condition = numpy_helper.from_array(np.array(True), "yes")
    changed.graph.initializer.append(condition)
    changed.graph.node.append(helper.make_node("If", ["yes"], ["z"], **branches))
    changed.graph.output.append(helper.make_tensor_value_info("z", 1, [3]))
    (folder / "model.onnx").write_bytes(changed.SerializeToString())
    return LINE


def sparse_giant(folder: Path) -> str:
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(3 << 30)
    return LINE


def outside(folder: Path) -> None:
    secret = folder.parent / f"{folder.name}-outside.bin"
    secret.write_bytes(b"\0" * 4096)
    (folder / "w.bin").symlink_to(secret)


def looped(folder: Path) -> None:
    (folder / "a.bin").symlink_to("b.bin")
    (folder / "b.bin").symlink_to("a.bin")


def short(folder: Path) -> None:
    (folder / "w.bin").write_bytes(b"\0" * 100)


def memory_mark(folder: Path) -> None:
    (folder / "*").mkdir()
    (folder / "*" / "_ORT_MEM_ADDR_").mkdir()
    (folder / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(b"\0" * 4096)


def _set(tensor: int, **fields: object) -> Callable[[onnx.ModelProto], None]:
    def edit(changed: onnx.ModelProto) -> None:
        for name, value in fields.items():
            setattr(changed.graph.initializer[tensor], name, value)

    return edit


def _dims(changed: onnx.ModelProto) -> None:
    changed.graph.initializer[0].dims[0] = 2**40


def _string_input(changed: onnx.ModelProto) -> None:
    changed.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


VALID = model().SerializeToString()
DATA = "optimize model.onnx --data data.npz"  # what nothing but a run would look at
AWAY = "outside of the model's folder"

MODEL_CASES = [
    Case("model", "is missing", lambda _: "inspect no.onnx", "there is no model file 'no.onnx'"),
    Case("model", "is a folder", lambda _: "inspect FOLDER", "there is no model file"),
    Case("model", "is a device", lambda _: "inspect /dev/zero", "there is no model file"),
    Case("model", "is empty", wrote(b""), "holds no ONNX graph with nodes and outputs"),
    Case("model", "is cut in half", wrote(VALID[:-400]), "is not a readable ONNX model"),
    Case("model", "is text", wrote(b"hello, I am a model"), "is not a readable ONNX model"),
    Case("model", "is a pickle", wrote(b"\x80\x04\x95\x00"), "holds no ONNX graph"),
    Case(
        "model",
        "leaves out an input that is required",
        edited(lambda m: m.graph.node[-1].input.__setitem__(0, "")),
        "has 0 inputs where ONNX wants",
    ),
    Case("model", "has 3 GB of nothing", sparse_giant, "over 2 GB, which no ONNX file can be"),
    Case(
        "model",
        "names operators of version -1",
        edited(lambda m: setattr(m.opset_import[0], "version", -1)),
        "names version -1 of the operators 'ai.onnx'",
    ),
    Case(
        "model",
        "names operators of version 2^62",
        edited(lambda m: setattr(m.opset_import[0], "version", 2**62)),
        "of the operators 'ai.onnx', which cannot be",
    ),
    Case(
        "model",
        "reads a tensor that nothing writes",
        edited(lambda m: m.graph.node[1].input.__setitem__(0, "ghost")),
        "reads tensor 'ghost', which nothing writes",
    ),
    Case(
        "model",
        "runs in a circle",
        edited(lambda m: m.graph.node[0].input.__setitem__(0, "flat")),
        "is malformed",
    ),
    Case(
        "model",
        "writes a tensor twice",
        edited(lambda m: m.graph.node[1].output.__setitem__(0, "conv")),
        "tensor 'conv' is written twice",
    ),
    Case(
        "model",
        "has a Conv without inputs",
        edited(lambda m: m.graph.node[0].ClearField("input")),
        "has 0 inputs where ONNX wants 2 to 3",
    ),
    Case("model", "has a weight cut short", edited(_set(1, raw_data=b"\0" * 7)), "and 7 bytes"),
    Case("model", "has a weight of 2^40 rows", edited(_dims), "1099511627776"),
    Case(
        "model",
        "has an operator whose name is not UTF-8",
        wrote(model().SerializeToString().replace(b"Conv", b"\xc3onv")),
        "the model's NodeProto.op_type is b'\\xc3onv', which is not UTF-8",
    ),
    Case("model", "takes strings", edited(_string_input, DATA), "is not a tensor of numbers"),
    Case("model", "keeps weights in /etc", external("/etc/passwd"), AWAY),
    Case("model", "keeps weights in ../", external("../secret.bin"), AWAY),
    Case("model", "keeps weights nowhere", external(""), AWAY),
    Case("model", "keeps weights in a/../..", external("a/../../etc/passwd"), AWAY),
    Case("model", "keeps weights behind a link", external("w.bin", outside), AWAY),
    Case("model", "keeps weights behind links in a circle", external("a.bin", looped), "a.bin"),
    Case("model", "keeps weights under a NUL", external("w\0.bin"), AWAY),
    Case("model", "keeps weights under a name of 5000 letters", external("w" * 5000), AWAY),
    Case("model", "keeps weights at an address", external("*/_ORT_MEM_ADDR_/*", memory_mark), AWAY),
    Case("model", "hides a path in a function", in_function, AWAY),
    Case("model", "hides a path in a branch without nodes", in_bare_branch, AWAY),
    Case("model", "lacks its weights", external("w.bin"), "external data file 'w.bin' is missing"),
    Case("model", "has short weights", external("w.bin", short), "the end of 'w.bin'"),
    Case(
        "model",
        "reaches past its weights",
        external("w.bin", short, offset=64, length=64),
        "needs 3072 bytes, but its external-data entry names 64",
    ),
    Case(
        "model",
        "has weights at offset -8",
        external("w.bin", short, offset=-8),
        "reaches past the end of 'w.bin'",
    ),
]
