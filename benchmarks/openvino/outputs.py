"""INT8 with and without the outputs of all Convs quantized besides, as Markdown.

    python -m benchmarks.openvino.outputs FOLDER --model NAME …

Each model is ``FOLDER/NAME/{model.onnx,data.npz}``. Uniform INT8, rest FP32. Undecided is a Conv
whose output goes to an operator that has no INT8 form: everything else that reads one is a Conv,
which quantizes what it reads, or a group of its own, which the search decides on. Engines are timed
by turns, one thread; the 25th percentile is shown.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.openvino.uniform import INT8, Case, error
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.space import Assignment
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.layout import quantize_layout
from precsearch.lowering.qdq.reach import fused_tail, node_groups, quantizable
from precsearch.lowering.qdq.scales import RangeScales


def undecided(case: Case, int8: Assignment) -> dict[str, frozenset[str]]:
    """Outputs of INT8 Convs that no reader quantizes → the operators that read them."""
    graph, space = case.target.graph, case.target.space
    layout = quantize_layout(graph, case.target.scheme, space, int8, case.scales)
    owners, found = node_groups(space), {}
    for node in (graph.nodes[i] for i in layout.active):
        tail = fused_tail(node, graph, owners)
        readers = graph.consumers.get(tail, ())
        quantized = all((reader.index, slot) in layout.reads for reader, slot in readers)
        if node.is_op("Conv") and tail not in layout.replaced and not quantized:
            found[tail] = frozenset(reader.op_type for reader, _ in readers)
    return found


def with_outputs(case: Case, int8: Assignment) -> bytes:
    """The engine with the outputs of all INT8 Convs quantized."""
    target = case.target
    rows = dict(target.scheme.formats)
    rows["Conv", INT8] = replace(rows["Conv", INT8], outputs=rows["Conv", INT8].inputs)
    scheme = replace(target.scheme, formats=rows)
    plain = Lowering(target.graph, target.space, scheme, RangeScales({}, scheme), target.form)
    wanted = quantizable(target.graph, scheme, target.space).values()
    tensors = tuple(sorted({tensor for found in wanted for tensor in found}))
    model = plain.lower(Assignment()).model
    calibration = Calibration(model, target.options.model_folder, tensors)
    scales = RangeScales(collect_ranges(calibration, case.feeds), scheme)
    lowering = Lowering(target.graph, target.space, scheme, scales, target.form)
    return case.backend.build(lowering.lower(int8).model)


def row(path: Path) -> str:
    """One line of the table."""
    case = Case(path)
    space = case.target.space
    whole = space.uniform(INT8)
    int8 = space.canonical(Assignment.of({k: p for k, p in whole.entries if p is INT8}))
    left = undecided(case, int8)
    engines = [case.build(Assignment()), case.build(int8), with_outputs(case, int8)]
    plain, *others = (case.run(engine) for engine in engines)
    losses = [error(found, plain) for found in others]
    base, *times = case.milliseconds(engines)
    readers = ", ".join(sorted(frozenset().union(*left.values()))) or "-"
    cells = [f"{e:.2g}, {t:.3g}" for e, t in zip(losses, times, strict=True)]
    return f"| {path.name} | {base:.3g} | {len(left)} | {readers} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", required=True)
    args = parser.parse_args()
    print("| model | FP32 ms | Convs undecided | read by | INT8: error, ms | outputs too |")
    print("|---|---|---|---|---|---|")
    for name in args.model:
        print(row(args.folder / name), flush=True)


if __name__ == "__main__":
    main()
