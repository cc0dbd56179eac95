"""In which precisions TensorRT-RTX computes an attention core in one kernel, by its sizes.

    python -m benchmarks.typed.attention --target sm89 -o table.md

Needs ``precsearch[tensorrt-rtx]`` and no GPU. Each model is a linear layer, a core of two heads
with its four projections, and a Relu. The core alone has the precision, the rest is FP16. *With its
output* has a Q/DQ behind the product with V, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from precsearch.backends.tensorrt.rtx.backend import TensorRtRtxBackend
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import BackendOptions
from precsearch.core.precision import Precision
from precsearch.core.quantization import TYPED_HALF, FusedAttention, QuantScheme
from precsearch.core.space import Assignment
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.attention_nets import COUNT, attention_net

FP16, INT8 = Precision.FP16, Precision.INT8
HEADS = (8, 9, 12, 16, 24, 32, 48, 64, 80, 128, 256, 264)
TOKENS = (8, 16, 31, 32, 64, 196, 512, 513, 1024)
_EVERY = FusedAttention(frozenset(range(1, 1025)), quantized_output=True)


def row(title: str, graph: GraphView, size: int, tokens: int, target: str) -> str:
    cells = [
        _fused(graph, precision, chosen, (2, tokens, COUNT * size), target)
        for precision, chosen in (
            (Precision.FP32, scheme(rtx=True)),
            (FP16, scheme(rtx=True)),
            (Precision.BF16, scheme(rtx=True)),
            (Precision.FP8, scheme(rtx=True)),
            (INT8, scheme(rtx=True)),
            (INT8, _with_output()),
        )
    ]
    return f"| {title} | {' | '.join('yes' if c else 'no' for c in cells)} |"


def _with_output() -> QuantScheme:
    made = scheme(rtx=True)
    return QuantScheme(made.name, made.formats, made.quirks, {INT8: _EVERY})


def _fused(
    graph: GraphView,
    precision: Precision,
    chosen: QuantScheme,
    shape: tuple[int, ...],
    target: str,
) -> bool:
    if precision is Precision.FP8 and int(target[2:]) < 89:
        return False
    space = group(graph, chosen, frozenset(Precision), "group", TYPED_HALF)
    tensors = frozenset().union(*quantizable(graph, chosen, space).values())
    scales = RangeScales(dict.fromkeys(tensors, TensorRange(-4.0, 4.0)), chosen)
    asked = {g.key: precision if g.kind == "attention" else g.nearest(FP16) for g in space.free}
    lowering = Lowering(graph, space, chosen, scales, TYPED_HALF)
    model = lowering.lower(space.canonical(Assignment.of(asked))).model
    shapes = ({graph.inputs[0].name: shape},)
    backend = TensorRtRtxBackend(BackendOptions(shapes=shapes, build={"target": target}))
    return backend.fused_attention(backend.build(model))[0] == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="sm89")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    lines = [
        "| core | FP32 | FP16 | BF16 | FP8 | INT8 | INT8 with its output |",
        "|---|---|---|---|---|---|---|",
    ]
    for size in HEADS:
        graph = attention_net(size, 64)
        lines.append(row(f"heads of {size}, 64 tokens", graph, size, 64, asked.target))
    for tokens in TOKENS:
        graph = attention_net(32, tokens)
        lines.append(row(f"heads of 32, {tokens} tokens", graph, 32, tokens, asked.target))
    asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
