"""Record small models in FP32, BF16 and INT8 on OpenVINO: every assignment is built and timed.

    python -m benchmarks.landscapes.record_openvino -o benchmarks/landscapes/openvino --only fire

As `benchmarks.landscapes.record`, with an engine that runs three precisions. Each assignment is
compiled once; its engine is imported anew in each of 8 passes, in an order of the pass's own. The
odd passes make the first latency, the even ones the second. Losses of proxies are those of the
proxy that a search asks.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.landscapes.models import write
from benchmarks.landscapes.record import (
    BATCH,
    TIMING,
    Floats,
    Opened,
    every,
    header,
    labels,
    opened,
    profiles,
    quietest,
    restricted,
    score,
)
from precsearch.core.backend import Backend
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import Fidelity
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.executors.candidates import candidate
from precsearch.lowering.context import LoweringContext
from precsearch.measurement.timing.latency import head_to_head

FREE = {"residual": 5, "fire": 5, "mlp": 5}
SAMPLES = 32
PASSES = 8


def timings(
    case: Opened, backend: Backend, engines: Sequence[bytes]
) -> tuple[Floats, Floats, float]:
    """Two latency ratios of every engine, and FP32's best seconds."""
    plain = backend.open(engines[0])
    ratios, beside = np.ones((2, PASSES, len(engines)))
    for number in range(PASSES):
        order = list(range(len(engines)))
        random.Random(number).shuffle(order)
        for i in order:
            session = backend.open(engines[i])
            (found,) = head_to_head([session], plain, case.inputs.loads, TIMING)
            session.close()
            ratios[number, i], beside[number, i] = found.ratio, np.median(found.baseline)
    one, other = (quietest(ratios[k::2], beside[k::2]) for k in (0, 1))
    return one, other, float(beside.min())


def proxies(case: Opened, space: SearchSpace, assignments: Sequence[Assignment]) -> list[float]:
    """The loss of each assignment in the proxy."""
    target = case.target
    made = ProxyGraph(
        LoweringContext(target.graph, space, target.scheme, case.lowering.scales, target.form)
    )
    proxy, feeds = Proxy(made.proxy, 1, 1, ""), case.searched.data.feeds
    rows = (proxy.run(made.request(a), feeds) for a in assignments)
    return [score(case.inputs.metric, outputs, case.searched).loss for outputs in rows]


def record(name: str, free: int, folder: Path) -> None:
    """Enumerate one case and write ``folder/name.npz``."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        model, data = write(name, Path(scratch), samples=SAMPLES)
        case = opened(model, data, Path(scratch), BATCH.get(name, 1), "openvino")
        options = replace(case.target.options, shapes=case.inputs.shapes)
        backend = case.target.factory(options)
        noise = case.bench.calibrate_noise()
        plain = candidate(case.lowering.lower(Assignment()))
        own: Mapping[str, float] = case.bench.measure(plain, Fidelity.ENGINE).group_seconds
        space = restricted(case.target.space, own, free)
        assignments = every(space)
        lowered = [candidate(case.lowering.lower(a)) for a in assignments]
        first = [case.bench.measure(c, Fidelity.ENGINE) for c in lowered]
        proxy = proxies(case, space, assignments)
        one, other, seconds = timings(
            case, backend, [backend.build(bytes(c.model)) for c in lowered]
        )
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
    apart, took = float(np.std(np.log(one / other))), time.monotonic() - begun
    print(f"{name}: {len(assignments)} assignments in {took:.0f} s, timings differ by {apart:.2%}")


def main() -> None:
    """Record what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the .npz")
    parser.add_argument("--only", nargs="*", choices=list(FREE), default=list(FREE))
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        record(name, FREE[name], args.output)


if __name__ == "__main__":
    main()
