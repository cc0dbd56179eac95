"""The registered rewrites: by name, with what each needs and what holds of it.

A plan names the rewrites that its model went through. Each is made again from its name and
parameters alone, with the operations that IEEE 754 fixes, so that the same model comes of it with
every version of Python and NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from precsearch.graph.prepare import MIN_OPSET
from precsearch.graph.view import GraphView
from precsearch.rewrites.attention import merged_scales
from precsearch.rewrites.constants import clamped_constants
from precsearch.rewrites.fold_bias import FOLD_BIAS, folded_biases
from precsearch.rewrites.lift import LIFT, lifted
from precsearch.rewrites.norms import fused_norms, scaled_norms
from precsearch.rewrites.rewrite import LAYERNORM_OPSET, NamedRewrite, Parameters
from precsearch.rewrites.scaling.equalize import EQUALIZE, equalized
from precsearch.rewrites.scaling.smooth import SMOOTH, smoothed

__all__ = ["RULES", "Requires", "RewriteRule"]


class Requires(Enum):
    """What it takes to find the parameters of a rewrite."""

    NOTHING = "nothing"
    """The graph alone."""
    SAMPLES = "samples"
    """Statistics of the model's tensors over calibration samples."""


@dataclass(frozen=True, slots=True)
class RewriteRule:
    """One kind of rewrite.

    Attributes:
        name: For the command line and the plan.
        min_opset: Operator set that the graph is raised to first.
        requires: What finding its parameters takes; applying it takes the parameters alone.
        apply: Graph and parameters → the rewrite wherever it fits, ``None`` if it fits nowhere.
            Parameters that do not fit the graph are ignored.
        holds: What holds of FP32's outputs, a clause.
    """

    name: str
    min_opset: int
    requires: Requires
    apply: Callable[[GraphView, Parameters], NamedRewrite | None]
    holds: str


def _numbers(parameters: Parameters) -> dict[str, int]:
    return {key: value for key, value in parameters.items() if isinstance(value, int)}


_TABLE: tuple[RewriteRule, ...] = (
    RewriteRule(
        "fuse-layernorm",
        LAYERNORM_OPSET,
        Requires.NOTHING,
        lambda graph, _: fused_norms(graph),
        "equal up to the order of sums",
    ),
    RewriteRule(
        "scale-variance",
        MIN_OPSET,
        Requires.SAMPLES,
        lambda graph, parameters: scaled_norms(graph, _numbers(parameters)),
        "equal up to rounding: the scales are powers of two",
    ),
    RewriteRule(
        "clamp-constants",
        MIN_OPSET,
        Requires.NOTHING,
        lambda graph, _: clamped_constants(graph),
        "equal where the constants only mask what goes into a Softmax",
    ),
    RewriteRule(
        "merge-scales",
        MIN_OPSET,
        Requires.NOTHING,
        lambda graph, _: merged_scales(graph),
        "equal up to rounding",
    ),
    RewriteRule(
        LIFT,
        MIN_OPSET,
        Requires.NOTHING,
        lifted,
        "those of the float model whose weights lie on the author's grid, where the author's "
        "quantization stands in for no activation",
    ),
    RewriteRule(
        FOLD_BIAS,
        MIN_OPSET,
        Requires.NOTHING,
        folded_biases,
        "equal up to rounding",
    ),
    RewriteRule(
        EQUALIZE,
        MIN_OPSET,
        Requires.SAMPLES,
        equalized,
        "equal up to rounding: the scales are powers of two",
    ),
    RewriteRule(
        SMOOTH,
        MIN_OPSET,
        Requires.SAMPLES,
        smoothed,
        "equal up to rounding: the scales are powers of two",
    ),
)

RULES: Mapping[str, RewriteRule] = {rule.name: rule for rule in _TABLE}
"""Rewrites by name."""
