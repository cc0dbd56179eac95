"""Options and objects that cause an error: one situation for each message."""

from __future__ import annotations

import multiprocessing.spawn as spawn
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

from precsearch.api import OptimizeConfig, ShapeSet
from precsearch.backends.fake import FakeBackend, FakeSession, Fault, Landscape
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.cli.options.parse import (
    integer,
    parse_build_options,
    parse_precision,
    parse_precisions,
    parse_shapes,
    real,
)
from precsearch.core.backend import BackendOptions
from precsearch.core.formats import TFLOAT32
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Fidelity, Proposal
from precsearch.data import Dataset, InputSpec
from precsearch.data.spec import resolve
from precsearch.emulation.round_nodes import rounding
from precsearch.executors.process import Worker
from precsearch.executors.references import check_comparable, reference_of
from precsearch.graph.reading.widen import widened
from precsearch.lowering.qdq.scales import FixedScales, QuantParams, RangeScales, Tie
from precsearch.lowering.qdq.weights import quantize_weight
from precsearch.measurement.config import ReferenceSplit
from precsearch.metrics import metric
from precsearch.registry import strategy
from precsearch.search.journal.memo import Memo
from tests.executors.at_work import while_at_work
from tests.hostile.spoken_data import Say
from tests.search.loop_toys import Oddities

__all__ = ["OBJECTS"]

FP32, INT8 = Precision.FP32, Precision.INT8
ORT = OnnxRuntimeBackend(BackendOptions(threads=1))
GROUP = LayerGroup("g", "conv", ("g",), (FP32, INT8))


def nothing_to_compare(_: Path) -> object:
    """Outputs without elements."""
    samples = Dataset(({"x": np.ones(3)},), (1,))
    return check_comparable(ReferenceSplit(samples, ({"y": np.ones((0, 2))},)))


def in_half(size: int, data: bytes) -> onnx.ModelProto:
    """A model with one square weight in FP16."""
    weight = onnx.TensorProto(name="w", data_type=10, dims=[size, size], raw_data=data)
    return onnx.ModelProto(graph=onnx.GraphProto(initializer=[weight]))


def declared(spec: object) -> Say:
    """A plug-in's entry point for a precision that is not what it should be."""

    def say(_: Path) -> object:
        point = SimpleNamespace(name="fp11", value="plugin:FP11", load=lambda: spec)
        with patch("importlib.metadata.entry_points", lambda **_: [point]):
            return Precision("fp11")

    return say


class Answers:
    """A worker whose model gives the same for every feed, and a target that has it."""

    reference_model = b""
    options = BackendOptions()

    def __init__(self, output: object) -> None:
        self.output = np.asarray(output, np.float32)

    def outputs(self, feeds: Sequence[object], model: bytes) -> object:
        return tuple({"y": self.output} for _ in feeds)


def wanted(x: object, own: object, given: object = None) -> Say:
    """Samples that hold ``x``, a model that gives ``own``, and references if there are any."""

    def say(_: Path) -> object:
        references = None if given is None else ({"y": np.asarray(given)},)
        samples = Dataset(({"x": np.asarray(x)},), (1,), references=references)
        model: Any = Answers(own)
        return reference_of(model, samples, model)

    return say


def scored(
    name: str,
    outputs: Sequence[object],
    reference: Sequence[object],
    labels: object = None,
) -> Say:
    """A metric on outputs ``y`` of several feeds."""

    def say(folder: Path) -> object:
        found, wanted = ([{"y": np.asarray(a)} for a in rows] for rows in (outputs, reference))
        given = None if labels is None else np.asarray(labels)
        where = name if ":" not in name else f"{folder}/{name}"
        return metric(where).score(found, wanted, given)

    return say


def custom(body: str) -> Say:
    def say(folder: Path) -> object:
        (folder / "loss.py").write_text(f"def f(outputs, reference, labels):\n    {body}\n")
        return scored("loss.py:f", [[1.0]], [[1.0]])(folder)

    return say


def asked(method: str, *args: object) -> Say:
    """What a worker is asked."""

    def say(_: Path) -> object:
        with Worker(Oddities, ("x",), limit_s=30, preload=()) as worker:
            return worker.call(getattr(Oddities, method), *args)

    return say


def unstartable(_: Path) -> None:
    python = spawn.get_executable()
    spawn.set_executable("/nowhere/python")
    try:
        Worker(Oddities, ("x",), limit_s=30, preload=())
    finally:
        spawn.set_executable(python)


def closed(_: Path) -> object:
    worker = Worker(Oddities, ("x",), limit_s=30, preload=())
    worker.close()
    return worker.call(Oddities.count)


def stopped(_: Path) -> object:
    with Worker(Oddities, ("x",), limit_s=30, preload=()) as worker:
        worker.prepare()
        with while_at_work(worker, worker.stop):
            return worker.call(Oddities.hang)


def closed_session(_: Path) -> object:
    session = FakeSession(Landscape(), Assignment())
    session.close()
    return session.run({})


def other_outputs(_: Path) -> object:
    one = np.ones(2, np.float32)
    return metric("rel-l2").score([{"z": one}], [{"y": one}])


def remembered(_: Path) -> object:
    """A line that looks like a trial to whoever only sorts the lines of a journal."""
    memo = Memo()
    asked_for = '{"assignment":{},"fidelity":"engine"}'
    line = f'{{"trial":{{"model_digest":"","proposal":{asked_for}}},"type":"TrialFinished"}}\n'
    memo.add(line.encode())
    return memo[Proposal(Assignment(), Fidelity.ENGINE)]


def failing_engine(folder: Path) -> object:
    from precsearch.api import optimize

    return optimize(
        folder / "model.onnx", data=folder / "data.npz", backend="broken", tol=0.9, threads=1
    )


ONE = np.ones(2, np.float32)
SHARED = [InputSpec(n, np.dtype(np.float32), ("batch", 2)) for n in "xz"]

OBJECTS: list[Say] = [
    # metrics
    scored("top1", [np.eye(2, dtype="f4")], [np.eye(2, dtype="f4")]),
    scored("top1", [np.eye(2, dtype="f4")], [np.eye(2, dtype="f4")], [0.5, 1.0]),
    scored("top1", [np.eye(2, dtype="f4")], [np.eye(2, dtype="f4")], [0, 2]),
    scored("top1-agree", [ONE[None], np.ones((1, 3), "f4")], [ONE[None], np.ones((1, 3), "f4")]),
    scored("top1-agree", [ONE], [ONE]),
    scored("rel-l2", [ONE], [ONE[None]]),
    scored("rel-l2", [], []),
    scored("rel-l2", [ONE], [ONE, ONE]),
    other_outputs,
    custom("raise KeyError('y')"),
    custom("return [[1, 2]]"),
    # options
    lambda _: resolve(SHARED, {"x": (2, 2), "z": (3, 2)}),
    lambda _: parse_precisions(" , "),
    lambda _: parse_precisions("fp6"),
    lambda _: parse_precision("fp6"),
    lambda _: parse_build_options(["a=1", "a=2"]),
    lambda _: parse_build_options(["a"]),
    lambda _: parse_shapes(["x:1", "x:2"]),
    lambda _: parse_shapes(["x"]),
    lambda _: real("--tol")("little"),
    lambda _: integer("--batch", 1)("0"),
    lambda _: OptimizeConfig(Path("m"), batch=0),
    lambda _: OptimizeConfig(Path("m"), threads=-1),
    lambda _: OptimizeConfig(Path("m"), corrections=("sleep",)),
    lambda _: OptimizeConfig(Path("m"), workers=0),
    lambda _: OptimizeConfig(Path("m"), batch=2, shapes=(ShapeSet({}),)),
    lambda _: ShapeSet({}, 0),
    lambda _: Bound(-1),
    lambda _: Bound(1, guard=0.5),
    lambda _: Budget(max_builds=0),
    lambda _: Budget(seconds=0),
    nothing_to_compare,
    wanted([np.nan], [np.nan]),
    wanted([1.0], [1.0, 2.0], given=[1.0]),
    wanted([1.0], [1.0], given=[np.nan]),
    lambda _: widened(in_half(1 << 15, b""), ""),
    lambda _: widened(in_half(2, b"\0"), ""),
    declared("FP11"),
    declared(INT8.spec),
    lambda _: rounding("x", "y", TFLOAT32),
    # spaces, plans, landscapes
    lambda _: LayerGroup("g", "conv", ("g",), (INT8,)),
    lambda _: SearchSpace((GROUP, GROUP)),
    lambda _: SearchSpace((GROUP,), ((0, 1),)),
    lambda _: SearchSpace((replace(GROUP, choices=(FP32,)),)).check(Assignment.of({"g": INT8})),
    lambda _: RangeScales({}, ORT.scheme).assign({"t"}, ()),
    lambda _: FixedScales({"a": QuantParams(1.0, 0), "b": QuantParams(2.0, 0)}).assign(
        {"a", "b"}, [Tie("a", "b", exact=True)]
    ),
    lambda _: quantize_weight(np.array([[np.inf]], np.float32), None),
    lambda _: Fault("flood"),
    lambda _: Fault("hang", "lunch"),
    lambda _: Landscape.from_json("[]"),
    remembered,
    # backends, strategies and workers
    lambda _: FakeBackend(BackendOptions()).scheme_named("s4"),
    lambda _: FakeBackend(BackendOptions()).form_named("round"),
    lambda _: FakeBackend(BackendOptions()).build(b"[]"),
    closed_session,
    lambda _: ORT.form_named("round"),
    lambda _: OnnxRuntimeBackend(BackendOptions(build={"a": "1"})),
    failing_engine,
    lambda _: strategy("idle"),
    lambda _: strategy("gone"),
    asked("crash", "time", int(signal.SIGSEGV)),
    asked("crash", "time", int(signal.SIGKILL)),
    unstartable,
    closed,
    stopped,
]
