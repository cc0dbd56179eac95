"""The tables of ``benchmarks/proxy``, in Markdown."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import onnxruntime as ort

SAMPLES = (1, 4, 16)
ROUNDS = 5
MARK = "<!-- made by benchmarks/proxy -->"


@dataclass(frozen=True)
class Row:
    """One model."""

    model: str
    groups: int
    graph_s: float
    open_s: float
    fp32_ms: float
    reference_ms: float
    ratios: dict[str, float]
    request_ms: dict[str, float]
    old_ms: dict[str, list[float]]
    new_ms: dict[str, list[float]]
    losses: dict[str, float]
    engine_int8: float
    weights_mb: float
    added_mb: float
    session_mb: float
    proxy_mb: float


def table(rows: Sequence[Row], threads: int, command: str) -> str:
    out = [
        MARK,
        "# The proxy: what an assignment costs, and how right it is",
        "",
        f"`{command}`, {date.today().isoformat()}, {cpu()}, {threads} thread(s), ONNX Runtime "
        f"{ort.__version__}, batch 1, up to {max(SAMPLES)} samples, medians of {ROUNDS}. Times are "
        "processor time, since the machine was shared while this ran.",
        "",
        *_costs(rows),
        "",
        *_few_samples(rows),
        "",
        *_losses(rows),
    ]
    return "\n".join(out) + "\n"


def _costs(rows: Sequence[Row]) -> list[str]:
    """Of one assignment, over one pass of FP32."""
    out = [
        "What scoring all samples costs, over one pass of FP32 over the same samples: first of "
        "the session that makes the reference outputs (basic optimizations), then of the engine "
        "(all of them, which fuse LayerNorm and GELU into one kernel). *Mixed* draws each group's "
        "precision; *alone* is FP16 on one sample, over the engine.",
        "",
        "| model | groups | write | open | reference | engine | FP32 | FP16 | INT8, else FP16 "
        "| mixed | FP16 alone |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        by = r.fp32_ms / r.reference_ms
        cost = " | ".join(
            f"{by * r.ratios[p]:.2f}x, {r.ratios[p]:.2f}x"
            for p in ("fp32", "fp16", "int8", "mixed")
        )
        out.append(
            f"| {r.model} | {r.groups} | {r.graph_s:.2f} s | {r.open_s:.2f} s | "
            f"{r.reference_ms:.2f} ms | {r.fp32_ms:.2f} ms | {cost} | "
            f"{r.new_ms['fp16'][0] / r.fp32_ms:.2f}x |"
        )
    return out


def _few_samples(rows: Sequence[Row]) -> list[str]:
    """What it costs without the proxy."""
    out = [
        "Scoring all-FP16 by lower + open + run, and how many times faster the proxy is, by number "
        "of samples:",
        "",
        "| model | " + " | ".join(f"{n} samples" for n in SAMPLES) + " |",
        "|---|" + "---|" * len(SAMPLES),
    ]
    for r in rows:
        pairs = zip(r.old_ms["fp16"], r.new_ms["fp16"], strict=True)
        cells = " | ".join(f"{a:.0f} ms, {a / b:.1f}x" for a, b in pairs)
        out.append(f"| {r.model} | {cells} |")
    return out


def _losses(rows: Sequence[Row]) -> list[str]:
    """How right the proxy is, and the memory it takes."""
    out = [
        "Relative L2 against FP32. INT8 stands beside the engine that ONNX Runtime runs in "
        "integers; FP16 has nothing to stand beside on a CPU, its rounding is bit-equal to NumPy's "
        "(`tests/proxy`). Memory is what opening and running all samples add to the process.",
        "",
        "| model | FP16 | INT8 | engine INT8 | ratio | weights | added | FP32 session | proxy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        mine = r.losses["int8 alone"]
        out.append(
            f"| {r.model} | {r.losses['fp16']:.3g} | {mine:.3g} | {r.engine_int8:.3g} | "
            f"{mine / r.engine_int8 if r.engine_int8 else 1:.2f} | {r.weights_mb:.1f} MB | "
            f"{r.added_mb:.1f} MB | {r.session_mb:.0f} MB | {r.proxy_mb:.0f} MB |"
        )
    return out


def cpu() -> str:
    text = Path("/proc/cpuinfo").read_text()
    lines = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    return f"{len(lines)}-core {lines[0]}" if lines else platform.machine()
