"""What people ask of inspect, data, metrics and groups: one situation for each message."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from precsearch.api import Result, inspect
from precsearch.api.functions import metric_name
from precsearch.api.given import data_file, model_file
from precsearch.api.optimizing import control_of, precisions_of
from precsearch.cli.options.control import parse_control
from precsearch.graph.read import read_model
from precsearch.metrics import metric
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.plan.plan import read_plan
from precsearch.setup.config import OptimizeConfig
from tests.hostile.situations.world import journal_bytes, model
from tests.hostile.spoken_data import Say

__all__ = ["PEOPLE"]


def kept_run(folder: Path, granularity: str) -> object:
    """A run that ended before its FP32 engine was measured."""
    run = folder / "run"
    run.mkdir()
    (run / "journal.jsonl").write_bytes(journal_bytes(folder))
    return inspect(folder / "model.onnx", backend="onnxruntime", granularity=granularity, run=run)


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


def no_pandas(folder: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pandas", None)
        result = Result(read_plan(folder / "plan.json"), folder / "plan.json", folder, folder)
        return result.to_frame()


X = np.zeros((2, 1, 8, 8), np.float32)


def lifted(folder: Path) -> object:
    """A model that nobody has quantized."""
    config = OptimizeConfig(folder / "model.onnx", backend="onnxruntime", lift=True)
    return open_rewritten(config, read_model(folder / "model.onnx"))


PEOPLE: list[Say] = [
    lifted,
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
    no_pandas,
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
