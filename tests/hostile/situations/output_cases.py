"""Outputs that cannot be written, and outputs that would destroy what is there."""

from __future__ import annotations

import os
from pathlib import Path

import onnx

from tests.hostile.situations.throw import Case, Make
from tests.hostile.situations.world import model

__all__ = ["OUTPUT_CASES"]

OPTIMIZE = "optimize model.onnx --data data.npz --tol 0.9 --threads 1"
BUILD = "build plan.json --model model.onnx"
KEPT = "which is never overwritten; name another output"


def line(text: str) -> Make:
    return lambda _: text


def linked(target: str, text: str) -> Make:
    """``out`` is a link."""

    def make(folder: Path) -> str:
        (folder / "out").symlink_to(target.replace("FOLDER", str(folder)))
        return text

    return make


def hard(folder: Path) -> str:
    os.link(folder / "model.onnx", folder / "same.onnx")
    return f"{BUILD} -o same.onnx --force"


def a_file(name: str, text: str) -> Make:
    def make(folder: Path) -> str:
        (folder / name).write_text("precious")
        return text

    return make


def a_folder(name: str, text: str) -> Make:
    def make(folder: Path) -> str:
        (folder / name).mkdir()
        return text

    return make


def fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return f"{BUILD} -o pipe --force"


def weights(text: str) -> Make:
    """The model keeps its matrix in ``w.bin``."""

    def make(folder: Path) -> str:
        moved = model()
        onnx.save(
            moved,
            str(folder / "model.onnx"),
            save_as_external_data=True,
            location="w.bin",
            size_threshold=0,
        )
        return text

    return make


OUTPUT_CASES = [
    Case("output", "plan in a missing folder", line(f"{OPTIMIZE} -o no/p.json"), "create it first"),
    Case("output", "plan is the model", line(f"{OPTIMIZE} -o model.onnx --force"), KEPT),
    Case("output", "plan is the data", line(f"{OPTIMIZE} -o data.npz --force"), KEPT),
    Case(
        "output", "plan is ./model.onnx", line(f"{OPTIMIZE} -o ./x/../model.onnx --force"), "over"
    ),
    Case("output", "plan is a folder", a_folder("p", f"{OPTIMIZE} -o p --force"), "is a folder"),
    Case("output", "plan exists", line(f"{OPTIMIZE} -o plan.json"), "add --force to replace it"),
    Case("output", "plan under a file", line(f"{OPTIMIZE} -o data.npz/p.json"), "does not exist"),
    Case("output", "plan is a name of 300 letters", line(f"{OPTIMIZE} -o {'p' * 300}"), "too long"),
    Case("output", "plan is /dev/full", line(f"{OPTIMIZE} -o /dev/full --force"), "is a device"),
    Case(
        "output",
        "plan is a link to /dev/full",
        linked("/dev/full", f"{OPTIMIZE} -o out --force"),
        "is a device",
    ),
    Case(
        "output",
        "plan is a link to the model",
        linked("model.onnx", f"{OPTIMIZE} -o out --force"),
        KEPT,
    ),
    Case(
        "output",
        "plan is a link to itself",
        linked("out", f"{OPTIMIZE} -o out --force"),
        "cannot be written",
    ),
    Case(
        "output",
        "plan and artifact are one",
        line(f"{OPTIMIZE} -o a --artifact a"),
        "for two outputs",
    ),
    Case(
        "output",
        "plan is the journal",
        line(f"{OPTIMIZE} --run-dir r -o r/journal.jsonl"),
        "journal.jsonl",
    ),
    Case("output", "plan on a read-only system", line(f"{OPTIMIZE} -o /proc/p.json"), "/proc"),
    Case(
        "output", "artifact is the model", line(f"{OPTIMIZE} --artifact model.onnx --force"), KEPT
    ),
    Case(
        "output",
        "artifact is the model's weights",
        weights(f"{OPTIMIZE} --artifact w.bin --force"),
        "never overwritten",
    ),
    Case(
        "output",
        "journal under a file",
        line(f"{OPTIMIZE} --run-dir data.npz/r"),
        "name another --run-dir",
    ),
    Case(
        "output",
        "journal's folder is a file",
        a_file("r", f"{OPTIMIZE} --run-dir r"),
        "name another --run-dir",
    ),
    Case(
        "output",
        "journal on a read-only system",
        line(f"{OPTIMIZE} --run-dir /proc/r"),
        "name another --run-dir",
    ),
    Case(
        "output",
        "model exists",
        a_file("a.onnx", f"{BUILD} -o a.onnx"),
        "add --force to replace it",
    ),
    Case("output", "model is the original", line(f"{BUILD} -o model.onnx --force"), KEPT),
    Case("output", "model is the plan", line(f"{BUILD} -o plan.json --force"), KEPT),
    Case("output", "model is a second name of the original", hard, KEPT),
    Case("output", "model is a pipe", fifo, "is a device or a pipe"),
    Case("output", "model in a missing folder", line(f"{BUILD} -o no/a.onnx"), "create it first"),
    Case("output", "model is /dev/null", line(f"{BUILD} -o /dev/null --force"), "is a device"),
]
