"""What screening costs and what it is worth, on a folder of models with data.

    python benchmarks/screen.py FIXTURES [NAME …] [--samples 32] [--batch 1] [--budget 256]

FIXTURES holds NAME/model.onnx and NAME/data.npz. FP16 is judged by true rounding (FP32 compute,
every stored tensor rounded to FP16): the module FILE with ``to_fake_fp16(model, keep_fp32)``, by
default FIXTURES/generators/fp16sim.py. Losses are rel-l2 of the worst output.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import onnx

from precsearch.core.backend import Feed
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.data import input_specs, load
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.hazards import hazards
from precsearch.hazards.collect import Screening, screen
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.lowering.qdq.reach import node_groups
from precsearch.optimization.stages.screen import screening_of
from precsearch.reference.session import reference_outputs, session_options
from precsearch.setup.target import Target, open_target

Fake = Callable[[onnx.ModelProto, Callable[[onnx.NodeProto], bool]], onnx.ModelProto]


@dataclass(frozen=True)
class Cost:
    """Seconds and kilobytes at peak of a run in a process of its own."""

    seconds: float
    peak: int
    found: ScreenStatistics | None


def _measured(screening: Screening, feeds: Sequence[Feed], plain: bool, pipe: Connection) -> None:
    start = time.perf_counter()
    found = None
    if plain:
        reference_outputs(screening.model, feeds)
    else:
        found = screen(screening, feeds)
    seconds = time.perf_counter() - start
    pipe.send(Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, found))


def measured(screening: Screening, feeds: Sequence[Feed], *, plain: bool) -> Cost:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=_measured, args=(screening, feeds, plain, there))
    child.start()
    there.close()
    cost: Cost = here.recv()
    child.join()
    return cost


def loss(model: bytes, feeds: Sequence[Feed], reference: Sequence[Feed]) -> float:
    import onnxruntime as ort

    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    off: dict[str, float] = dict.fromkeys(names, 0.0)
    size: dict[str, float] = dict.fromkeys(names, 0.0)
    for feed, wanted in zip(feeds, reference, strict=True):
        for name, value in zip(names, session.run(names, dict(feed)), strict=True):
            if np.issubdtype(value.dtype, np.floating):
                right = wanted[name].astype(np.float64)
                off[name] += float(np.sum((value - right) ** 2))
                size[name] += float(np.sum(right**2))
    return max(math.sqrt(off[n] / size[n]) for n in names if size[n] > 0)


def fp16_loss(
    target: Target, model: bytes, priors: Sequence[Prior], fake: Fake, feeds: Sequence[Feed]
) -> float:
    """With every group in FP16 but those with a prior."""
    owners = node_groups(target.space)
    free = {g.key for g in target.space.groups if Precision.FP16 in g.choices}
    low = free - {p.key for p in priors if p.precision is Precision.FP16}
    proto = onnx.ModelProto.FromString(model)
    rounded = fake(proto, lambda node: owners.get(node.name, "") not in low)
    reference = reference_outputs(model, feeds)
    with np.errstate(invalid="ignore", over="ignore"):
        return loss(rounded.SerializeToString(), feeds, reference)


def row(folder: Path, samples: int, batch: int, budget: int, fake: Fake) -> str:
    source = read_model(folder / "model.onnx")
    target = open_target(source, "onnxruntime", None, "group", 0)
    offered = frozenset({Precision.FP32, Precision.FP16})
    space = group(target.graph, target.scheme, offered)
    target = replace(target, space=space)
    data = load(folder / "data.npz", input_specs(target.graph.inputs), batch=batch)
    feeds = data.take(range(min(max(1, samples // batch), len(data)))).feeds
    screening = replace(screening_of(target), budget=budget << 20)
    plain = measured(screening, feeds, plain=True)
    cost = measured(screening, feeds, plain=False)
    priors = hazards(target.graph, space, cost.found, target.scheme)
    naive = fp16_loss(target, screening.model, (), fake, feeds)
    spared = fp16_loss(target, screening.model, priors, fake, feeds)
    for prior in priors:
        print(f"    {space.by_key[prior.key].kind:12} {prior.reason}")
    lost = sum(len(space.by_key[p.key].nodes) for p in priors)
    return (
        f"| {folder.name} | {len(screening.tensors)} | {cost.seconds:.2f} "
        f"| {cost.seconds / plain.seconds:.1f} | {(cost.peak - plain.peak) / 1024:.0f} "
        f"| {len(priors)} of {len(space.free)} ({lost} of {len(target.graph.nodes)}) "
        f"| {naive:.2g} | {spared:.2g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budget", type=int, default=256, help="MB")
    parser.add_argument("--sim", type=Path, help="a module with to_fake_fp16(model, keep_fp32)")
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location(
        "sim", args.sim or args.fixtures / "generators" / "fp16sim.py"
    )
    assert spec is not None
    assert spec.loader is not None
    sim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sim)
    names = args.names or sorted(p.parent.name for p in args.fixtures.glob("*/model.onnx"))
    rows = []
    for name in names:
        print(name, flush=True)
        rows.append(
            row(args.fixtures / name, args.samples, args.batch, args.budget, sim.to_fake_fp16)
        )
        print(rows[-1], flush=True)
    print(
        "\n| model | tensors | seconds | of a reference run | extra MB | groups (nodes) out of "
        "FP16 | FP16 everywhere | FP16 less hazards |\n|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
