"""Build, run and time every assignment of small models once, for replay by `report`.

    python -m benchmarks.landscapes.record -o benchmarks/landscapes             # our own models
    python -m benchmarks.landscapes.record -o benchmarks/landscapes --case NAME MODEL DATA FREE

Each assignment's engine is opened in 36 passes, each pass in an order of its own; the odd ones
make the first latency, the even ones the second, so that the two share no session and no moment.
Of its timings the half counts in which the FP32 engine beside it, inference by inference, ran
fastest: other work on the machine slows engines of different precision differently. Loss, profile
and the loss with graph optimization off (what a proxy sees) are taken once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.landscapes.models import write
from precsearch.api import OptimizeConfig
from precsearch.core.backend import Array, Feed
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Accuracy, Fidelity, Measurement
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementService, ReferenceSplit
from precsearch.measurement.timing.latency import TimingOptions, head_to_head
from precsearch.metrics import Metric
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.setup.inputs import Inputs, open_inputs
from precsearch.setup.target import Target, open_target

FREE = {"residual": 9, "fire": 9, "mlp": 8, "depthwise": 8, "transformer": 9}
BATCH = {"mlp": 16}  # one sample alone would be bound by the memory of the weights
TIMING = TimingOptions(rounds=16, max_rounds=16, round_seconds=0.0005, warmup=1)
PASSES = 36

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Opened:
    """What one case is recorded with."""

    target: Target
    inputs: Inputs
    searched: ReferenceSplit
    lowering: Lowering
    bench: MeasurementService


def opened(
    model: Path, data: Path, folder: Path, batch: int, backend: str = "onnxruntime"
) -> Opened:
    """Model, data, reference outputs, calibration and a bench in this very process."""
    config = OptimizeConfig(model, data, threads=1, batch=batch, run_dir=folder)
    target = open_target(read_model(model), backend, None, "group", 1)
    inputs = open_inputs(config, target.graph)
    with worker_here(target.source, target.facts) as worker:
        searched = reference_of(target, inputs.parts.search, worker)
        target, lowering, _ = calibrated(target, inputs, "minmax", worker, folder)
    plain = lowering.lower(Assignment())
    setup = measurement_config(config, target, plain, searched, inputs.loads, inputs.shapes)
    bench = MeasurementService(
        Place(weights=target.options.model_folder),
        replace(setup, timing=TIMING),
        lambda _stage: None,
    )
    return Opened(target, inputs, searched, lowering, bench)


def restricted(space: SearchSpace, seconds: Mapping[str, float], free: int) -> SearchSpace:
    """Only the ``free`` groups of most time, and passive ones between them, keep their choices."""
    ranked = sorted(space.free, key=lambda g: (g.passive, -seconds.get(g.key, 0.0)))
    kept = [g.key for g in ranked if not g.passive][:free]
    between = [
        g.key
        for g in space.free
        if g.passive and sum(k in kept for k in space.neighbours[g.key]) > 1
    ]
    # A third at most for the passive ones: whether Add and Concat stay quantized matters too.
    between = between[: free // 3]
    chosen = {*kept[: free - len(between)], *between}
    groups = tuple(
        g if g.key in chosen else replace(g, choices=(Precision.FP32,)) for g in space.groups
    )
    return replace(space, groups=groups)


def every(space: SearchSpace) -> list[Assignment]:
    """All canonical assignments, FP32 first."""
    rows = itertools.product(*(g.choices for g in space.free))
    keys = [g.key for g in space.free]
    made = (Assignment.of(dict(zip(keys, row, strict=True))) for row in rows)
    return list(dict.fromkeys(space.canonical(a) for a in made))


def outputs_unoptimized(model: bytes, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
    """Outputs where no kernel is fused: Q/DQ around float kernels, as a simulation computes."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return [dict(zip(names, session.run(names, dict(f)), strict=True)) for f in feeds]


def score(metric: Metric, outputs: Sequence[Mapping[str, Array]], part: ReferenceSplit) -> Accuracy:
    """The loss of some outputs."""
    data = part.data
    return metric.score(outputs, part.reference, data.flat_labels, sizes=data.sizes)


def timings(case: Opened, models: Sequence[bytes]) -> tuple[Floats, Floats, float]:
    """Two latency ratios of every model, and FP32's best seconds."""
    backend = case.target.factory(case.target.options)
    plain = backend.open(backend.build(case.lowering.lower(Assignment()).model))
    ratios, beside = np.ones((2, PASSES, len(models)))
    for number in range(PASSES):
        order = list(range(len(models)))
        random.Random(number).shuffle(order)
        for i in order:
            session = backend.open(backend.build(models[i]))
            (found,) = head_to_head([session], plain, case.inputs.loads, TIMING)
            session.close()
            ratios[number, i], beside[number, i] = found.ratio, np.median(found.baseline)
    one, other = (quietest(ratios[k::2], beside[k::2]) for k in (0, 1))
    return one, other, float(beside.min())


def quietest(ratios: npt.NDArray[np.float64], beside: npt.NDArray[np.float64]) -> Floats:
    """(a,) mean over the better half of (passes, a) ratios."""
    better = np.argsort(beside, axis=0, kind="stable")[: (len(beside) + 1) // 2]
    quiet = np.take_along_axis(ratios, better, axis=0)
    return np.asarray(quiet.mean(axis=0), np.float32)


def group_row(g: LayerGroup) -> dict[str, object]:
    """A group without its nodes, which no strategy looks at."""
    return {
        "key": g.key, "kind": g.kind, "choices": [c.value for c in g.choices],
        "passive": g.passive, "signature": g.signature, "block": g.block, "macs": g.macs,
    }  # fmt: skip


def header(name: str, case: Opened, space: SearchSpace, noise: float) -> str:
    """What a replay needs to know, as JSON."""
    device = case.bench.fingerprint()
    return json.dumps(
        {
            "name": name,
            "model_sha256": case.target.source.digest,
            "groups": [group_row(g) for g in space.groups],
            "edges": [list(e) for e in space.edges],
            "noise": noise,
            "metric": case.inputs.metric.name,
            "date": date.today().isoformat(),
            "versions": dict(device.versions),
            "device": device.device,
            "machine": platform.machine(),
        }
    )


def labels(space: SearchSpace, assignments: Sequence[Assignment]) -> npt.NDArray[np.uint8]:
    """(a, n) index into ``space.precisions`` of each free group."""
    rows = [[space.precisions.index(a[g.key]) for g in space.free] for a in assignments]
    return np.asarray(rows, np.uint8)


def profiles(space: SearchSpace, found: Sequence[Measurement]) -> npt.NDArray[np.float16]:
    """(a, n + 1) microseconds of each free group, and of all else."""
    rows = []
    for m in found:
        own = [m.group_seconds.get(g.key, 0.0) for g in space.free]
        rows.append([*own, sum(m.group_seconds.values()) - sum(own)])
    return np.asarray(np.asarray(rows) * 1e6, np.float16)


def record(name: str, model: Path, data: Path, free: int, folder: Path) -> None:
    """Enumerate one case and write ``folder/name.npz``."""
    with tempfile.TemporaryDirectory() as scratch:
        case = opened(model, data, Path(scratch), BATCH.get(name, 1))
        noise = case.bench.calibrate_noise()
        plain = candidate(case.lowering.lower(Assignment()))
        own = case.bench.measure(plain, Fidelity.ENGINE).group_seconds
        space = restricted(case.target.space, own, free)
        assignments = every(space)
        lowered = [candidate(case.lowering.lower(a)) for a in assignments]
        first, proxy = [], []
        for c in lowered:
            first.append(case.bench.measure(c, Fidelity.ENGINE))
            outputs = outputs_unoptimized(bytes(c.model), case.searched.data.feeds)
            proxy.append(score(case.inputs.metric, outputs, case.searched).loss)
        one, other, seconds = timings(case, [bytes(c.model) for c in lowered])
    np.savez_compressed(
        folder / f"{name}.npz",
        header=np.array(header(name, case, space, noise)),
        labels=labels(space, assignments),
        loss=np.asarray([m.accuracy.loss for m in first], np.float32),
        upper=np.asarray([m.accuracy.upper for m in first], np.float32),
        proxy=np.asarray(proxy, np.float32),
        ratio_a=one,
        ratio_b=other,
        profile=profiles(space, first),
        seconds=np.float64(seconds),
    )
    apart = float(np.std(np.log(one / other)))
    print(f"{name}: {len(assignments)} assignments, the timings differ by {apart:.2%} (sd)")


def main() -> None:
    """Record what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the .npz")
    parser.add_argument("--only", nargs="*", choices=list(FREE), help="of our own models")
    parser.add_argument(
        "--case", nargs=4, action="append", metavar=("NAME", "MODEL", "DATA", "FREE")
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    own = args.only if args.only is not None else ([] if args.case else list(FREE))
    for name in own:
        with tempfile.TemporaryDirectory() as folder:
            model, data = write(name, Path(folder), samples=64)
            record(name, model, data, FREE[name], args.output)
    for name, file, samples, free in args.case or []:
        record(name, Path(file), Path(samples), int(free), args.output)


if __name__ == "__main__":
    main()
