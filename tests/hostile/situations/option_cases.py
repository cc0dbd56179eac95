"""Options whose value makes no sense, alone or for this model and data."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.situations.throw import Case, Make

__all__ = ["OPTION_CASES"]

LINE = "optimize model.onnx --data data.npz --threads 1"


def _line(text: str) -> Make:
    return lambda _: f"{LINE} {text}"


def _metric(text: str) -> Make:
    def make(folder: Path) -> str:
        (folder / "loss.py").write_text("def good(o, r, l): return 0\nnumber = 3\n")
        return f"{LINE} --metric {text}"

    return make


OPTION_CASES = [
    Case("option", "an unknown backend", _line("--backend tpu"), "there is no backend 'tpu'; use"),
    Case("option", "an unknown strategy", _line("--strategy luck"), "no strategy 'luck'; use one"),
    Case("option", "an unknown metric", _line("--metric beauty"), "there is no metric 'beauty'"),
    Case("option", "an unknown granularity", _line("--granularity row"), "'row'"),
    Case("option", "an unknown calibration", _line("--calibration-method best"), "'best'"),
    Case("option", "FP16 on a CPU", _line("--precisions fp16"), "does not truly run fp16"),
    Case("option", "a negative tolerance", _line("--tol -1"), "-1"),
    Case("option", "a shape of an unknown input", _line("--input-shape z:1"), "names 'z', but the"),
    Case("option", "a shape that contradicts", _line("--input-shape x:1x3x8x8"), "--input-shape"),
    Case("option", "a batch beyond the data", _line("--batch 99"), "fewer than one batch of 99"),
    Case("option", "labels that are not there", _line("--metric top1"), "store them under the key"),
    Case("option", "a module that is not there", _line("--metric nowhere:f"), "No module named"),
    Case("option", "a function that is not there", _metric("loss.py:bad"), "has no function 'bad'"),
    Case("option", "a function that is a number", _metric("loss.py:number"), "has no function"),
    Case("option", "a file that is not there", _metric("gone.py:good"), "there is no file"),
    Case("option", "no function at all", _metric("loss.py:"), "is no function"),
    Case("option", "a budget of no time", _line("--time-budget 0s"), "--time-budget takes a time"),
    Case("option", "resume and force", _line("--resume --force"), "drop --resume or --force"),
]
