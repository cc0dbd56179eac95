"""What people ask of inspect, data, metrics and groups: one situation for each message."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch.api import (
    Result,
    edit,
    inspect,
    optimize,
    optimize_each,
    optimize_events,
    tracked,
)
from precsearch.api.functions import metric_name
from precsearch.api.given import data_file, model_file
from precsearch.api.options import control_of, precisions_of
from precsearch.cli.options.control import _parsed, parse_control
from precsearch.cli.options.parse import seconds, size
from precsearch.core.events import Event
from precsearch.core.objective import Limits, Objective
from precsearch.data import InputSpec, load
from precsearch.data.preprocess import parse_preprocess
from precsearch.graph.reading.read import read_model
from precsearch.metrics import PerOutput, metric, per_output_name, table
from precsearch.optimization.across.table_file import EngineTable, write_table
from precsearch.optimization.front.plan_at import front
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.plan.plan import read_plan
from precsearch.setup.config import EngineRow, OptimizeConfig, OptimizeResult
from tests.hostile.situations.world import journal_bytes, model
from tests.hostile.spoken_data import Say

__all__ = ["PEOPLE"]


def kept_run(folder: Path, granularity: str) -> object:
    """A run that ended before its FP32 engine was measured."""
    run = folder / "run"
    run.mkdir()
    (run / "journal.jsonl").write_bytes(journal_bytes(folder))
    return inspect(folder / "model.onnx", backend="onnxruntime", granularity=granularity, run=run)


def nowhere_met(folder: Path) -> object:
    """The run of a search on one engine of several, whose FP32 engine is not within the bound."""
    row = EngineRow("a", None, "", None, None, None, 1, together=True)
    write_table(folder, EngineTable("a", (row,)))
    return front(folder)


def settled(*pins: str) -> Say:
    return lambda _: inspect("model.onnx", backend="onnxruntime", control=parse_control(pins))


def given(data: object, **options: object) -> Say:
    """Data in memory for the world's model."""
    return lambda folder: data_file(data, folder / "model.onnx", folder, **options)  # type: ignore[arg-type]


def function(source: str) -> Say:
    """A metric that is a function of a script."""

    def say(folder: Path) -> object:
        names: dict[str, Any] = {"__name__": "__main__", "held": object()}
        exec(source, names)
        return metric_name(names["loss"], folder)

    return say


def outside_weights(folder: Path) -> object:
    proto = model()
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    return model_file(proto, folder)


def odd_arity(folder: Path) -> object:
    (folder / "mine.py").write_text("def loss(outputs):\n    return 0.0\n")
    return metric(f"{folder}/mine.py:loss")


def uncommon_value(folder: Path) -> object:
    path = folder / "used.py"
    path.write_text("held = object()\n\n\ndef loss(a, b):\n    return id(held)\n")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return metric_name(names["loss"], folder)


def large(_: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precsearch.api.arrays.MAX_BYTES", 8)
        return data_file([X[0]], Path("model.onnx"), Path())


def lacking(package: str, use: Callable[[Result], object]) -> Say:
    """Something of a result whose package is not installed."""

    def say(folder: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            return use(
                Result(read_plan(folder / "plan.json"), folder / "plan.json", folder, folder)
            )

    return say


def tracked_run(folder: Path) -> Generator[Event, None, OptimizeResult]:
    config = OptimizeConfig(folder / "model.onnx")
    return tracked(config, optimize_events(config))


def without_mlflow(folder: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mlflow", None)
        return next(tracked_run(folder))


def refused_by_mlflow(folder: Path) -> object:
    """A tracking server that cannot be reached."""

    def no_run() -> None:
        raise OSError("no server")

    made = ModuleType("mlflow")
    vars(made)["exceptions"] = SimpleNamespace(MlflowException=OSError)
    vars(made)["active_run"] = no_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mlflow", made)
        return next(tracked_run(folder))


X = np.zeros((2, 1, 8, 8), np.float32)


def lifted(folder: Path) -> object:
    """A model that nobody has quantized."""
    config = OptimizeConfig(folder / "model.onnx", backend="onnxruntime", lift=True)
    return open_rewritten(config, read_model(folder / "model.onnx"))


def scored(name: str, *shape: int, value: float = 0.0) -> Say:
    feed = {"y": np.full(shape, value, np.float32)}
    return lambda _: metric(name).score([feed], [feed])


def bad_metric(place: str) -> Say:
    """A metric that a distribution's entry point names."""

    def say(_: Path) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(table._SHIPPED, "planted", place)
            return metric("planted")

    return say


def no_boxes(_: Path) -> object:
    feed = {"boxes": np.zeros((3, 4), np.float32), "scores": np.zeros(3, np.float32)}
    return metric("box-agreement").score([feed], [feed])


def unbounded(name: str) -> Say:
    def say(_: Path) -> object:
        judge = metric(name)
        assert isinstance(judge, PerOutput)
        judge.check(["boxes", "scores"])
        return None

    return say


def media(name: str, content: bytes, steps: str, *specs: InputSpec) -> Say:
    """A folder with one file, which no package has to read."""

    def say(folder: Path) -> object:
        (folder / "d").mkdir()
        (folder / "d" / name).write_bytes(content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "PIL", None)
            patch.setitem(sys.modules, "soundfile", None)
            return load(folder / "d", specs or (PICTURE,), preprocess=steps)

    return say


def lines(content: str) -> Say:
    def say(folder: Path) -> object:
        (folder / "d.jsonl").write_bytes(content.encode("latin-1"))
        return load(folder / "d.jsonl", (PICTURE,))

    return say


PICTURE = InputSpec("x", np.dtype(np.float32), ("batch", 1, 8, 8))


PEOPLE: list[Say] = [
    nowhere_met,
    lambda _: optimize_each("model.onnx", bounds={}),
    lambda _: optimize("model.onnx", metrics=["cosine"]),
    lambda _: edit("plan.json", {"op:MatMul": "int8"}, "new.json", model="model.onnx"),
    lambda _: edit("plan.json", {"op:MatMul": "fp16"}, "new.json", model="model.onnx"),
    lambda _: seconds("--max-latency")("5"),
    lambda _: size("--max-size")("large"),
    lambda _: Objective.named("speed"),
    lambda _: Limits(size=0),
    lifted,
    media("a.png", b"", ""),
    media("a.png", b"", "resize=8"),
    media("a.wav", b"", "seconds=1"),
    media("a.png", b"", "resize=8", PICTURE, PICTURE),
    lambda _: parse_preprocess("colour=red"),
    lambda _: parse_preprocess("bgr,bgr"),
    lambda folder: load(folder / "data.npz", (PICTURE,), preprocess="bgr"),
    lines("{"),
    lines('{"x": ["a"]}'),
    lines("\xff"),
    scored("mask-iou", 1, 2),
    scored("recall", 3, 2),
    scored("decisions", 3, 2),
    scored("edit-distance", 1, 3, 2),
    no_boxes,
    lambda _: metric("rel-l2@1"),
    lambda _: metric("mask-iou@1"),
    lambda _: metric("recall@x"),
    lambda _: metric("top1[y=0.1]"),
    lambda _: metric("rel-l2[y=x]"),
    lambda _: per_output_name("rel-l2", {"a,b": 0.1}),
    lambda _: _parsed("a=1,a=2"),
    unbounded("rel-l2[boxes=0.1]"),
    unbounded("rel-l2[box=0.1]"),
    bad_metric("nowhere:gone"),
    bad_metric("pathlib:Path"),
    given(3),
    given([]),
    given(["a cat"]),
    given({"x": ["a", "b"]}),
    given({"x": [[1.0], [1.0, 2.0]]}),
    given((X, X, X)),
    given({"x": X}, columns={"pixel": "x"}),
    large,
    lambda folder: model_file(3, folder),  # type: ignore[arg-type]
    outside_weights,
    function("loss = lambda a, b: 0.0"),
    function("def loss(a, b):\n    return 0.0"),
    uncommon_value,
    odd_arity,
    lacking("pandas", lambda result: result.to_frame()),
    lacking("altair", lambda result: result.chart()),
    without_mlflow,
    refused_by_mlflow,
    lambda _: precisions_of(["fp12"]),
    lambda _: control_of(None, "op:Conv", ()),
    settled("op:MatMul"),
    settled("op:MatMul=int8"),
    settled("op:MatMult=fp32"),
    settled("@none.txt"),
    lambda folder: kept_run(folder, "group"),
    lambda folder: kept_run(folder, "node"),
    lambda _: inspect("model.onnx", profile=True),
    lambda _: inspect("model.onnx", profile=True, data="data.npz", run="run"),
    lambda _: inspect("model.onnx", backend="silent", profile=True, data="data.npz", threads=1),
]
