"""What people ask of inspect, data, metrics and groups: one situation for each message."""

from __future__ import annotations

from pathlib import Path

from precsearch.api import inspect
from precsearch.cli.options.control import parse_control
from tests.hostile.situations.world import journal_bytes
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


PEOPLE: list[Say] = [
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
