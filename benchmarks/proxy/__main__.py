"""What scoring an assignment by the proxy costs and how right it is, as a Markdown table.

    python -m benchmarks.proxy FOLDER [--model NAME …] [--threads 1] -o docs/benchmarks/proxy.md

Each model is ``FOLDER/NAME/{model.onnx,data.npz}``; each is looked at in a process of its own, for
the memory. *lower + open + run* is what scoring costs without the proxy: the lowering, a session
with all optimizations, and the same samples.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.proxy.opened import Opened, calibrated, opened, seconds
from benchmarks.proxy.table import ROUNDS, SAMPLES, Row, table
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.reference.session import open_reference

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


@dataclass(frozen=True)
class Cost:
    """Of one precision everywhere.

    Attributes:
        passes: Seconds of each pass of FP32 that it was compared with.
        old_ms, new_ms: Without the proxy and with it, by `SAMPLES`; empty for FP32.
    """

    ratio: float
    passes: list[float]
    request_ms: float
    old_ms: list[float]
    new_ms: list[float]


def cost(on: Opened, precision: Precision) -> Cost:
    whole, count = on.model.space.uniform(precision), len(on.model.feeds)
    on.engine_loss_of(whole, 1)  # the lowering keeps what it converted
    pairs = [(on.with_proxy_s(whole, count), on.fp32_s()) for _ in range(ROUNDS)]
    request = median(seconds(lambda: on.written.request(whole)) for _ in range(ROUNDS))
    both = [
        [(on.without_s(whole, few), on.with_proxy_s(whole, few)) for _ in range(ROUNDS)]
        for few in (SAMPLES if precision is not Precision.FP32 else ())
    ]
    return Cost(
        ratio=median(a / b for a, b in pairs),
        passes=[b for _, b in pairs],
        request_ms=1e3 * request,
        old_ms=[1e3 * median(a for a, _ in rounds) for rounds in both],
        new_ms=[1e3 * median(b for _, b in rounds) for rounds in both],
    )


def look(folder: Path, name: str, threads: int) -> Row:
    model = calibrated(folder, name, threads)
    on = opened(model, threads)
    count, basic = len(model.feeds), open_reference(model.plain)
    slow = median(
        seconds(lambda: [basic.run(None, dict(f)) for f in model.feeds]) for _ in range(ROUNDS)
    )
    losses: dict[str, float] = {}
    costs: dict[str, Cost] = {}
    for precision in Precision:
        losses[precision.value] = on.loss_of(model.space.uniform(precision))
        costs[precision.value] = cost(on, precision)
    drawn = mixed(model.space)
    mixed_ratio = median(on.with_proxy_s(drawn, count) / on.fp32_s() for _ in range(ROUNDS))
    losses["int8 alone"] = on.loss_of(int8_alone(model.space))
    return Row(
        model=name,
        groups=len(model.space.groups),
        graph_s=on.graph_s,
        open_s=on.open_s,
        fp32_ms=1e3 * median(s for c in costs.values() for s in c.passes) / count,
        reference_ms=1e3 * slow / count,
        ratios={**{p: c.ratio for p, c in costs.items()}, "mixed": mixed_ratio},
        request_ms={p: c.request_ms for p, c in costs.items()},
        old_ms={p: c.old_ms for p, c in costs.items() if c.old_ms},
        new_ms={p: c.new_ms for p, c in costs.items() if c.new_ms},
        losses=losses,
        engine_int8=on.engine_loss_of(int8_alone(model.space)),
        weights_mb=sum(len(w.proto_bytes) for w in model.graph.weights.values()) / 2**20,
        added_mb=on.written.proxy.added_bytes / 2**20,
        session_mb=on.session_mb,
        proxy_mb=on.proxy_mb,
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
    text = table(rows, args.threads, "python -m benchmarks.proxy FOLDER")
    if args.output:
        args.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
