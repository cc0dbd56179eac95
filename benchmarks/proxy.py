"""What scoring an assignment by the proxy costs and how right it is, as a Markdown table.

    python benchmarks/proxy.py FOLDER [--model NAME …] [--threads 1] -o docs/benchmarks/proxy.md

Each model is ``FOLDER/NAME/{model.onnx,data.npz}``; each is looked at in a process of its own, for
the memory. *lower + open + run* is what scoring costs without the proxy: the lowering, a session
with all optimisations, and the same samples.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime as ort

from precsearch.backend import BackendOptions, Feed
from precsearch.backends.onnxruntime import OnnxRuntimeBackend
from precsearch.data import input_specs, load
from precsearch.onnxio.group import group
from precsearch.onnxio.layout import quantisable
from precsearch.onnxio.lower import Lowering
from precsearch.onnxio.prepare import prepare
from precsearch.onnxio.proxygraph import ProxyGraph
from precsearch.onnxio.read import read_model
from precsearch.onnxio.scales import RangeScales
from precsearch.reference.proxy import Proxy
from precsearch.reference.ranges import Calibration, collect_ranges
from precsearch.reference.session import open_reference
from precsearch.space import Assignment, Precision, SearchSpace

MODELS = (
    "timesformer_digits",
    "swin_digits",
    "minilm_l6_banking77",
    "resnet20_cifar10",
    "squeezenet_imagenet",
    "rescat_digits_imbalanced",
    "mlperf_tiny_resnet8",
    "ultraface_rfb320",
    "style_candy",
    "basic_pitch",
)
SAMPLES = (1, 4, 16)
ROUNDS = 5
MARK = "<!-- made by benchmarks/proxy.py -->"


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


def resident_mb() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def seconds(call: Callable[[], object]) -> float:
    """Of processor time, all threads together: the machine may be shared."""
    start = time.process_time()
    call()
    return time.process_time() - start


def loss(outputs: Sequence[Feed], reference: Sequence[Feed]) -> float:
    worst = 0.0
    for name in reference[0]:
        a = np.concatenate([np.asarray(o[name], np.float64).ravel() for o in outputs])
        b = np.concatenate([np.asarray(o[name], np.float64).ravel() for o in reference])
        off = float(np.linalg.norm(a - b) / np.linalg.norm(b)) if np.isfinite(a).all() else np.inf
        worst = max(worst, off)
    return worst


def without_int8(space: SearchSpace, bad: set[str]) -> SearchSpace:
    def kept(choices: tuple[Precision, ...]) -> tuple[Precision, ...]:
        return tuple(c for c in choices if c is not Precision.INT8)

    groups = (replace(g, choices=kept(g.choices)) if g.key in bad else g for g in space.groups)
    return replace(space, groups=tuple(groups))


def look(folder: Path, name: str, threads: int) -> Row:
    backend = OnnxRuntimeBackend(BackendOptions(threads=threads))
    scheme = backend.scheme
    graph = prepare(read_model(folder / name / "model.onnx"))
    space = group(graph, scheme, frozenset(Precision))
    data = load(folder / name / "data.npz", input_specs(graph.inputs))
    feeds = list(data.feeds[: max(SAMPLES)])
    plain = Lowering(graph, space, scheme, RangeScales({}, scheme)).lower(Assignment()).model
    tensors = quantisable(graph, scheme, space)
    names = tuple(sorted(frozenset().union(*tensors.values())))
    ranges = collect_ranges(Calibration(plain, "", names), feeds)
    space = without_int8(space, {k for k, ts in tensors.items() if not ts <= ranges.keys()})
    scales = RangeScales(ranges, scheme)
    lowering = Lowering(graph, space, scheme, scales)
    empty = resident_mb()
    session = backend.open(plain)
    for feed in feeds:
        session.run(feed)
    session_mb = resident_mb() - empty
    made: list[ProxyGraph] = []
    graph_s = seconds(lambda: made.append(ProxyGraph(graph, space, scheme, scales)))
    empty = resident_mb()
    proxies: list[Proxy] = []
    open_s = seconds(lambda: proxies.append(Proxy(made[0].proxy, threads, threads)))
    proxy = proxies[0]
    proxy.run(made[0].request(Assignment()), feeds)
    proxy_mb = resident_mb() - empty
    reference = [session.run(f) for f in feeds]

    def judge(assignment: Assignment, count: int) -> None:
        outputs = proxy.run(made[0].request(assignment), feeds[:count])
        loss(outputs, reference[:count])

    def without(assignment: Assignment, count: int) -> None:
        engine = backend.open(lowering.lower(assignment).model)
        loss([engine.run(f) for f in feeds[:count]], reference[:count])

    ratios: dict[str, float] = {}
    request: dict[str, float] = {}
    old: dict[str, list[float]] = {}
    new: dict[str, list[float]] = {}
    losses: dict[str, float] = {}
    passes: list[float] = []
    basic = open_reference(plain)
    slow = median(
        seconds(lambda: [basic.run(None, dict(f)) for f in feeds]) for _ in range(ROUNDS)
    ) / len(feeds)
    for precision in Precision:
        whole, key = space.uniform(precision), precision.value
        losses[key] = loss(proxy.run(made[0].request(whole), feeds), reference)
        without(whole, 1)  # the lowering keeps what it converted
        pairs = [
            (
                seconds(lambda: judge(whole, len(feeds))),  # noqa: B023 - called at once
                seconds(lambda: [session.run(f) for f in feeds]),
            )
            for _ in range(ROUNDS)
        ]
        passes += [b for _, b in pairs]
        ratios[key] = median(a / b for a, b in pairs)
        request[key] = 1e3 * median(seconds(lambda: made[0].request(whole)) for _ in range(ROUNDS))  # noqa: B023
        if precision is Precision.FP32:
            continue
        for count in SAMPLES:
            both = [
                (seconds(lambda: without(whole, count)), seconds(lambda: judge(whole, count)))  # noqa: B023
                for _ in range(ROUNDS)
            ]
            old.setdefault(key, []).append(1e3 * median(a for a, _ in both))
            new.setdefault(key, []).append(1e3 * median(b for _, b in both))
    drawn = mixed(space)
    ratios["mixed"] = median(
        seconds(lambda: judge(drawn, len(feeds))) / seconds(lambda: [session.run(f) for f in feeds])
        for _ in range(ROUNDS)
    )
    engine = backend.open(lowering.lower(int8_alone(space)).model)
    losses["int8 alone"] = loss(proxy.run(made[0].request(int8_alone(space)), feeds), reference)
    return Row(
        model=name,
        groups=len(space.groups),
        graph_s=graph_s,
        open_s=open_s,
        fp32_ms=1e3 * median(passes) / len(feeds),
        reference_ms=1e3 * slow,
        ratios=ratios,
        request_ms=request,
        old_ms=old,
        new_ms=new,
        losses=losses,
        engine_int8=loss([engine.run(f) for f in feeds], reference),
        weights_mb=sum(len(w.proto_bytes) for w in graph.weights.values()) / 2**20,
        added_mb=made[0].proxy.added_bytes / 2**20,
        session_mb=session_mb,
        proxy_mb=proxy_mb,
    )


def mixed(space: SearchSpace) -> Assignment:
    """Each group in any of its precisions."""
    rng = np.random.default_rng(0)
    wanted = {g.key: g.choices[rng.integers(len(g.choices))] for g in space.free}
    return space.canonical(Assignment.of(wanted))


def int8_alone(space: SearchSpace) -> Assignment:
    """INT8 where it can be, FP32 elsewhere: what this machine's engines run."""
    wanted = {g.key: Precision.INT8 for g in space.free if Precision.INT8 in g.choices}
    return space.canonical(Assignment.of(wanted))


def table(rows: Sequence[Row], threads: int, command: str) -> str:
    out = [
        MARK,
        "# The proxy: what an assignment costs, and how right it is",
        "",
        f"`{command}`, {date.today().isoformat()}, {cpu()}, {threads} thread(s), ONNX Runtime "
        f"{ort.__version__}, batch 1, up to {max(SAMPLES)} samples, medians of {ROUNDS}. Times are "
        "processor time, since the machine was shared while this ran.",
        "",
        "What scoring all samples costs, over one pass of FP32 over the same samples: first of "
        "the session that makes the reference outputs (basic optimisations), then of the engine "
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
    out += [
        "",
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
    out += [
        "",
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
    return "\n".join(out) + "\n"


def cpu() -> str:
    text = Path("/proc/cpuinfo").read_text()
    lines = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    return f"{len(lines)}-core {lines[0]}" if lines else platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(asdict(look(args.folder, args.one, args.threads))))
        return
    rows = []
    for name in args.model or MODELS:
        line = [sys.executable, __file__, str(args.folder), "--threads", str(args.threads)]
        done = subprocess.run([*line, "--one", name], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        rows.append(Row(**json.loads(done.stdout)))
        print(rows[-1], file=sys.stderr)
    text = table(rows, args.threads, "python benchmarks/proxy.py FOLDER")
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
