"""Score every assignment of a three-precision model once by proxy, its latency from a table.

    python -m benchmarks.landscapes.record_proxy -o benchmarks/landscapes/proxy

No CPU provider computes in FP16, so nothing is built: the "engine's" loss is that of the ``If``
proxy for TensorRT's scheme (`precsearch.emulation.multiplexed`) on all samples, the "proxy's" that
on the first quarter of them, and `table` says what each group takes. The two "timings" are two
draws of 0.5 % of noise each. What screening says is recorded as a run sees it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.landscapes.models import write
from benchmarks.landscapes.record import every, group_row, labels
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import TYPED_HALF, Array
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment, LayerGroup, SearchSpace
from precsearch.core.trial import Accuracy
from precsearch.data import Dataset, input_specs, load
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.graph.prepare import prepare
from precsearch.graph.read import read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.hazards import hazards, screened_tensors, softmax_axes
from precsearch.hazards.collect import Screening, screen
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq_layout import quantisable
from precsearch.lowering.scales import RangeScales
from precsearch.metrics import METRICS
from precsearch.reference.session import reference_outputs

PRODUCTS = {Precision.FP32: 1.0, Precision.FP16: 0.55, Precision.INT8: 0.35}
"""Time of MatMul groups, as a share of FP32's."""

MOVED = {Precision.FP32: 1.0, Precision.FP16: 0.6, Precision.INT8: 0.6}
"""The same for groups that are bound by memory."""

MACS = 1e4  # in a microsecond of FP32
VALUES = 500.0  # read or written in a microsecond of FP32
BOUNDARY = 0.02  # of FP32's time, for each edge whose ends differ
NOISE, PROFILE_NOISE = 0.005, 0.05
SAMPLES, BATCH = 64, 8
METRIC = METRICS["rel-l2"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A model with its proxy, and what screening says of it."""

    graph: ProxyGraph
    proxy: Proxy
    data: Dataset
    reference: Sequence[Mapping[str, Array]]
    statistics: ScreenStatistics
    priors: tuple[Prior, ...]
    digest: str

    @property
    def space(self) -> SearchSpace:
        return self.graph.space

    def score(self, assignment: Assignment, feeds: int) -> Accuracy:
        """Its loss on the first feeds."""
        request = self.graph.request(assignment)
        outputs = self.proxy.run(request, self.data.feeds[:feeds])
        return METRIC.score(outputs, self.reference[:feeds], None, sizes=self.data.sizes[:feeds])


def opened(model: Path, samples: Path) -> Case:
    """Prepare, group, calibrate and screen as a run on TensorRT does."""
    source, trt = read_model(model), scheme()
    graph = prepare(source, TYPED_HALF.min_opset)
    space = group(graph, trt, frozenset(Precision))
    data = load(samples, input_specs(graph.inputs), batch=BATCH)
    plain = Lowering(graph, space, trt, RangeScales({}, trt)).lower(Assignment()).model
    scales = RangeScales(collect_ranges(_calibration(graph, space, plain), data.feeds), trt)
    made = ProxyGraph(graph, space, trt, scales, TYPED_HALF)
    looked = Screening(plain, "", screened_tensors(graph), softmax_axes(graph))
    seen = screen(looked, data.feeds)
    priors = hazards(graph, space, seen, trt, int8_half=True)
    reference = reference_outputs(str(model), data.feeds)
    return Case(made, Proxy(made.proxy, 1), data, reference, seen, priors, source.digest)


def _calibration(graph: GraphView, space: SearchSpace, plain: bytes) -> Calibration:
    tensors = frozenset().union(*quantisable(graph, scheme(), space).values())
    return Calibration(plain, "", tuple(sorted(tensors)))


def table(case: Case) -> dict[tuple[str, Precision], float]:
    """Microseconds of each group at each of its choices.

    Products take their multiply-adds, other groups the values that they read from other groups and
    write for them, of one sample.
    """
    found: dict[tuple[str, Precision], float] = {}
    for g in case.space.groups:
        micro = g.macs / MACS if g.macs else _values(case, g) / VALUES
        shares = PRODUCTS if g.macs else MOVED
        found |= {(g.key, p): micro * shares[p] for p in g.choices}
    return found


def _values(case: Case, g: LayerGroup) -> float:
    """Activations that cross the border of a group."""
    graph, mine = case.graph.graph, set(g.nodes)
    nodes = [graph.by_key[key] for key in g.nodes]
    made = {t for n in nodes for t in n.outputs}
    crossing = {t for n in nodes for t in n.inputs if t not in made}
    crossing |= {t for t in made if any(n.key not in mine for n, _ in graph.consumers.get(t, ()))}
    sizes = case.statistics.tensors
    return sum(sizes[t].count for t in sorted(crossing) if t in sizes) / SAMPLES


def latencies(case: Case, assignments: Sequence[Assignment]) -> tuple[Floats, Floats]:
    """(a,) microseconds without noise; (a, n + 1) the share of each free group, and of all else."""
    times, space = table(case), case.space
    plain = sum(times[g.key, Precision.FP32] for g in space.groups)
    own = np.zeros((len(assignments), len(space.groups)))
    for row, a in zip(own, assignments, strict=True):
        row += [times[g.key, a[g.key]] for g in space.groups]
        for i, j in space.edges:
            if a[space.groups[i].key] is not a[space.groups[j].key]:
                row[[i, j]] += BOUNDARY * plain / 2
    free = [space.groups.index(g) for g in space.free]
    rest = own.sum(axis=1) - own[:, free].sum(axis=1)
    return own.sum(axis=1), np.column_stack([own[:, free], rest])


def header(name: str, case: Case) -> str:
    """What a replay needs to know, as JSON."""
    return json.dumps(
        {
            "name": name,
            "model_sha256": case.digest,
            "groups": [group_row(g) for g in case.space.groups],
            "edges": [list(e) for e in case.space.edges],
            "priors": [[p.key, p.precision.value, p.avoid, p.reason] for p in case.priors],
            "noise": NOISE,
            "metric": METRIC.name,
            "date": date.today().isoformat(),
            "versions": {"onnxruntime": ort.__version__},
            "device": "none: errors by proxy, latency from a table",
        }
    )


def record(name: str, folder: Path) -> None:
    """Enumerate one case and write ``folder/name.npz``."""
    with tempfile.TemporaryDirectory() as scratch:
        case = opened(*write(name, Path(scratch), SAMPLES))
        assignments = every(case.space)
        feeds = len(case.data.feeds)
        found = [case.score(a, feeds) for a in assignments]
        quick = [case.score(a, feeds // 4).loss for a in assignments]
    micro, profile = latencies(case, assignments)
    rng = np.random.default_rng(0)
    draws = micro / micro[0] * np.exp(NOISE * rng.normal(size=(2, len(micro))))
    draws[:, 0] = 1.0
    profile *= np.exp(PROFILE_NOISE * rng.normal(size=profile.shape))
    np.savez_compressed(
        folder / f"{name}.npz",
        header=np.array(header(name, case)),
        labels=labels(case.space, assignments),
        loss=np.asarray([a.loss for a in found], np.float32),
        upper=np.asarray([a.upper for a in found], np.float32),
        proxy=np.asarray(quick, np.float32),
        ratio_a=draws[0].astype(np.float32),
        ratio_b=draws[1].astype(np.float32),
        profile=profile.astype(np.float16),
        seconds=np.float64(micro[0] * 1e-6),
    )
    print(f"{name}: {len(assignments)} assignments; hints from screening:")
    for p in case.priors:
        print(f"  {p.key}: {p.reason}")


def main() -> None:
    """Record it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the .npz")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    record("norm", args.output)


if __name__ == "__main__":
    main()
