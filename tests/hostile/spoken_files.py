"""Files that cause an error: one situation for each message about them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.cli.start import Results
from precsearch.core.backend import BackendOptions
from precsearch.core.events import RunStarted, TrialFinished, Warned
from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Proposal, Trial
from precsearch.data import Dataset, InputSpec, load
from precsearch.emulation.multiplexed import ProxyModel
from precsearch.emulation.session import Proxy
from precsearch.graph.opset import with_dense_weights
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.hazards.collect import Screening, screen
from precsearch.reference.session import reference_outputs
from precsearch.rewrites.apply import with_rewrites
from precsearch.search.journal import Journal, read
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.files import check_free
from precsearch.setup.outputs import Outputs, reserved
from precsearch.setup.ownership import check_same_model
from precsearch.setup.target import open_target
from tests.cli.runs import engine, plan
from tests.hostile.situations.world import model
from tests.hostile.spoken_data import (
    F32,
    IMAGE,
    Say,
    data,
    feeds,
    header,
    no_data,
    polygraphy,
    text,
    two_arrays,
)

__all__ = ["FILES"]

NOBODY = 65534


def another_plan(folder: Path) -> None:
    (folder / "p.json").write_text(plan().to_json())
    config = OptimizeConfig(folder / "model.onnx", output=folder / "p.json", force=True)
    check_same_model(config, read_model(config.model))


def another_journal(folder: Path) -> None:
    with Journal.open(folder / "p.precsearch", {}) as journal:
        journal.append(RunStarted({"model": "ab" * 32}, "other.onnx", "0"))
        journal.append(TrialFinished(engine(0, 0, 0.0, 1.0), 1, 1.0))
    config = OptimizeConfig(folder / "model.onnx", output=folder / "p.json", force=True)
    check_same_model(config, read_model(config.model))


def split(_: Path) -> object:
    x = {"x": np.ones((1, 2), np.float32)}
    plain, given = (Dataset((x,) * 4, (1,) * 4, None, r) for r in (None, ({"y": x["x"]},) * 4))
    return plain.split(holdout=given)


def changed(change: Callable[[onnx.ModelProto], object], *, read_alone: bool = False) -> Say:
    """The world's model, changed."""

    def say(folder: Path) -> object:
        proto = model()
        change(proto)
        (folder / "m.onnx").write_bytes(proto.SerializeToString())
        source = read_model(folder / "m.onnx")
        return source if read_alone else prepare(source)

    return say


def external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "data.npz"), ("offset", "soon")):
        tensor.external_data.add(key=key, value=value)


def old_and_unknown(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 9
    proto.graph.node[1].op_type = "Refresh"


def form_name(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].output[0] = proto.graph.node[2].input[0] = "conv//int8"


def calling(times: int, inputs: int, levels: int) -> Say:
    """A call of the first of so many functions, each of which calls the one after it."""

    def change(proto: onnx.ModelProto) -> None:
        first = proto.graph.node[1]
        first.op_type, first.domain = "F0", "local"
        first.input.extend([first.input[0]] * (inputs - 1))
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        for i in range(levels):
            names = ["a", *(f"t{i}" for i in range(times - 1)), "b"]
            body = [
                helper.make_node(f"F{(i + 1) % levels}", [x], [y], domain="local")
                if times > 1 or levels == 1
                else helper.make_node("Relu", [x], [y])
                for x, y in pairwise(names)
            ]
            if i == levels - 1 and levels > 1:
                body = [helper.make_node("Relu", ["a"], ["b"])]
            proto.functions.append(
                helper.make_function("local", f"F{i}", ["a"], ["b"], body, opsets)
            )

    return changed(change)


def sparse(dims: tuple[int, ...], places: list[int]) -> Say:
    values = numpy_helper.from_array(np.ones(len(places), np.float32), "s")
    indices = numpy_helper.from_array(np.array(places, np.int64))
    found = helper.make_sparse_tensor(values, indices, dims)
    proto = model()
    proto.graph.sparse_initializer.append(found)
    return lambda _: with_dense_weights(proto)


def refused(folder: Path) -> object:
    proto = model()
    proto.graph.node[1].domain = "nowhere"
    return reference_outputs(proto.SerializeToString(), [], str(folder))


def unfit(folder: Path) -> object:
    feed = {"x": np.ones((1, 2, 3, 4), np.float32)}
    return reference_outputs(model().SerializeToString(), [feed], str(folder))


def uncalibrated(folder: Path) -> object:
    feed = {"x": np.ones((1, 2, 3, 4), np.float32)}
    calibration = Calibration(model().SerializeToString(), str(folder), ("relu",), "minmax")
    return collect_ranges(calibration, [feed])


def unscreened(folder: Path) -> object:
    feed = {"x": np.ones((1, 2, 3, 4), np.float32)}
    return screen(Screening(model().SerializeToString(), str(folder), ("relu",)), [feed])


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, who may read and write everything."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def unreadable(folder: Path) -> object:
    onnx.save(
        model(), str(folder / "m.onnx"), save_as_external_data=True, location="w", size_threshold=0
    )
    (folder / "w").chmod(0)
    with as_nobody():
        return read_model(folder / "m.onnx")


def unwritable(folder: Path) -> None:
    (folder / "shut").mkdir()
    (folder / "shut").chmod(0o555)
    with as_nobody():
        check_free([folder / "shut" / "p.json"], force=False)


def journal(folder: Path) -> Journal:
    return Journal.open(folder / "run", {}, force=True)


def closed_journal(folder: Path) -> None:
    found = journal(folder)
    found.close()
    found.append(Warned("late"))


def damaged(old: bytes, new: bytes) -> Say:
    """A journal with one finished trial, in which something was replaced."""

    def say(folder: Path) -> object:
        with journal(folder) as found:
            outcome = Failed("build", "error", "planted")
            found.append(TrialFinished(Trial(0, Proposal(Assignment()), outcome), 1, 2.0))
        path = folder / "run" / "journal.jsonl"
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))
        return list(read(path))

    return say


def two_at_once(folder: Path) -> object:
    with journal(folder):
        return journal(folder)


def reserved_twice(folder: Path) -> None:
    with reserved([folder / "p.json"]), reserved([folder / "p.json"]):
        pass


def appeared(folder: Path) -> None:
    outputs = Outputs(folder, force=False, resumed=False)
    (folder / "p.json").write_text("mine")
    outputs.write(folder / "p.json", b"{}")


def not_ours(folder: Path) -> None:
    (folder / "p.json").write_text("mine")
    Outputs(folder, force=False, resumed=True).check([folder / "p.json"])


def irremovable(folder: Path) -> None:
    (folder / "outputs.json").mkdir()
    Outputs(folder, force=False, resumed=False)


def full_stdout(_: Path) -> None:
    with io.FileIO("/dev/full", "w") as full:
        stream = Results(full, encoding="utf-8", write_through=True)
        stream.write("x")


def unprofiled(folder: Path) -> object:
    backend = OnnxRuntimeBackend(BackendOptions(threads=1))
    session = backend.open((folder / "model.onnx").read_bytes(), profiled=True)
    feed = {"x": np.zeros((1, 1, 8, 8), np.float32)}

    def cut_short() -> str:  # as on a full disk
        (folder / "profile.json").write_text('[{"cat"')
        return str(folder / "profile.json")

    cut: Any = SimpleNamespace(run=lambda *_: [None], end_profiling=cut_short)
    session._session = cut
    return session.profile(feed, 1)


FILES: list[Say] = [
    # data
    feeds({"x": [[1.0, 2.0]]}, {"x": [[1.0, 2.0]], "labels": [1]}),
    feeds(
        {"x": np.ones((1, 2), "f4"), "labels": [1]}, {"x": np.ones((1, 2), "f4"), "labels": [1.5]}
    ),
    feeds({"x": np.ones((2, 2), "f4"), "labels": [1, 2, 3]}),
    no_data(InputSpec("x", F32, None)),
    no_data(InputSpec("x", F32, ("batch", "width"))),
    no_data(InputSpec("x", F32, (2, 3)), batch=3),
    data(InputSpec("x", F32, ("sequence", "batch")), x=np.ones((4, 2), "f4")),
    data(InputSpec("x", F32, ("batch", 2)), x=np.ones((3, 0, 2), "f4")),
    data(
        IMAGE, InputSpec("z", F32, ("batch", 2)), x=np.ones((4, 2), "f4"), z=np.ones((5, 2), "f4")
    ),
    data(IMAGE, batch=3, x=np.ones((2, 4, 2), "f4")),
    data(x=np.ones((2, 2), "f4"), __ref__y=["a", "b"]),
    text("d.py", "def load_data():\n    yield {'x': [object()]}\n"),
    text("d.py", "def load_data():\n    return {'x': 1}\n"),
    text("d.py", "def load_data():\n    while True:\n        yield {'x': [[1.0, 2.0]]}\n", 1000),
    text("d.json", b" " * (2 << 20), 1000),
    text("d.json", '{"polygraphy_class": "RunResults"}'),
    polygraphy("☃☃☃"),
    polygraphy(two_arrays()),
    header("<U0", "(1,)"),
    header("<f4", f"(0, {1 << 70})"),
    header("<f4", "(0, 2)", 2),
    lambda folder: load(folder / f"{'d' * 300}.npz", (IMAGE,)),
    split,
    # the model
    changed(external, read_alone=True),
    changed(old_and_unknown),
    changed(form_name),
    calling(times=1, inputs=1, levels=1),  # itself
    calling(times=2, inputs=1, levels=31),
    calling(times=1, inputs=2, levels=2),
    sparse((1 << 20, 1 << 20), [0]),
    sparse((2, 2), [9]),
    refused,
    unfit,
    uncalibrated,
    unscreened,
    lambda _: Proxy(ProxyModel(b"no model", (), (), "uint8", 0), 1),
    unreadable,
    lambda folder: open_target(read_model(folder / "model.onnx"), "old", None, "group", 1),
    lambda folder: with_rewrites(read_model(folder / "model.onnx"), [("sleep", {})]),
    # journals and outputs
    closed_journal,
    another_plan,
    another_journal,
    two_at_once,
    damaged(b'"number":0', b'"number":"none"'),
    lambda folder: read(folder / "nothing"),
    unwritable,
    reserved_twice,
    appeared,
    not_ours,
    irremovable,
    full_stdout,
    unprofiled,
]
