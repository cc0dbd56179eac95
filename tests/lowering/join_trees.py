"""Models of Concats of Concats, of quantized and float tensors with scales of every size."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.precision import Precision
from precsearch.core.quantization import TYPED_HALF, GraphForm
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from tests.graph.small_graphs import GraphBuilder, view

__all__ = ["FP16", "FP32", "INT8", "SHAPE", "JoinTree", "join_trees", "leaf"]

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
CHOSEN = scheme(rtx=True, attention=True)
SHAPE = (2, 4, 6, 6)
_BETWEEN = ("", "", "", "", "Transpose", "MaxPool", "Neg", "Relu")


@dataclass(frozen=True)
class JoinTree:
    """A model and what is asked of it.

    Attributes:
        graph: The model; each input has the shape ``SHAPE``.
        asked: Key of a group → its precision; the others are in INT8, where they can be.
        peaks: Tensor → the largest value that it may have.
    """

    graph: GraphView
    asked: dict[str, Precision]
    peaks: dict[str, float]

    @property
    def space(self) -> SearchSpace:
        """A group for each node."""
        return group(self.graph, CHOSEN, frozenset({FP32, FP16, INT8}), "node")

    def lowered(self, form: GraphForm = TYPED_HALF) -> Lowered:
        """The model in a graph form."""
        space = self.space
        tensors = sorted(frozenset().union(*quantizable(self.graph, CHOSEN, space).values()))
        peaks = ((t, self.peaks.get(t, 4.0)) for t in tensors)
        scales = RangeScales({t: TensorRange(-p, p) for t, p in peaks}, CHOSEN)
        asked = {g.key: self.asked.get(g.key, g.nearest(INT8)) for g in space.free}
        assignment = space.canonical(Assignment.of(asked))
        return Lowering(self.graph, space, CHOSEN, scales, form).lower(assignment)


@st.composite
def join_trees(draw: st.DrawFn) -> JoinTree:
    """Two or three levels of Concats; leaves are Concats too, since those can be quantized."""
    b = GraphBuilder(19)
    tree = leaf(b)
    leaves = [tree]
    peaks: dict[str, float] = {}
    asked: dict[str, Precision] = {}
    for _ in range(draw(st.integers(1, 2))):
        more = [leaf(b) for _ in range(draw(st.integers(1, 2)))]
        moved = [_moved(b, t, draw(st.sampled_from(_BETWEEN))) for t in (tree, *more)]
        tree = b.op("Concat", *moved, axis=1)
        asked[tree] = draw(st.sampled_from([FP32, FP16, FP16, INT8]))
        leaves += more
    b.output(tree)
    graph = view(b.model())
    for tensor in leaves:
        asked[tensor] = draw(st.sampled_from([FP16, INT8, INT8, INT8]))
        ends = (tensor, *graph.producer[tensor].inputs)
        peaks |= dict.fromkeys(ends, draw(st.sampled_from([4.0, 1e-4])))
    return JoinTree(graph, asked, peaks)


def leaf(b: GraphBuilder) -> str:
    """A Concat that a Conv reads, so that it can be quantized."""
    tensor = b.op("Concat", b.input(list(SHAPE)), b.input(list(SHAPE)), axis=1)
    b.output(b.op("Conv", tensor, b.weight(4, 2 * SHAPE[1], 1, 1), kernel_shape=[1, 1]))
    return tensor


def _moved(b: GraphBuilder, tensor: str, by: str) -> str:
    if by == "Transpose":
        return b.op(by, tensor, perm=[0, 1, 3, 2])
    if by == "MaxPool":
        return b.op(by, tensor, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return b.op(by, tensor) if by else tensor
