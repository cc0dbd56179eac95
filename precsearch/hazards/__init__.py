"""Hazards by rule: what one FP32 run shows that a coarser float format would get wrong, and where.

Five kinds: values beyond the format's range, constants beyond it, values that it rounds to zero
before a logarithm or a division, differences of values that it holds too coarsely, and positions.
BF16 has FP32's range, so that there it is the significand that counts. FP32
must cover the *path* of such a value, from the node that writes it to those that read it, so every
group along it gets the prior. They are hints: a measurement may overrule each of them.
"""

from __future__ import annotations

from precsearch.core.backend import TYPED, GraphForm, QuantScheme
from precsearch.core.precision import Encoding, Precision
from precsearch.core.problem import Prior
from precsearch.core.space import SearchSpace
from precsearch.graph.view import GraphView
from precsearch.hazards.attention_hints import attention_hints
from precsearch.hazards.finding import Finding
from precsearch.hazards.int8_hints import int8_hints
from precsearch.hazards.overflow import constants, harmful, inner, overflows
from precsearch.hazards.positions import angles, coordinates, whole_numbers
from precsearch.hazards.rounding import cancellations, coarse
from precsearch.hazards.screened import Screened, screened_tensors, softmax_axes
from precsearch.hazards.statistics import ScreenStatistics
from precsearch.hazards.underflow import constant_underflows, underflows
from precsearch.lowering.capabilities import cast_capable

__all__ = ["harmful_constants", "hazards", "screened_tensors", "softmax_axes", "suspected"]

_RULES = (
    *(overflows, constants, inner, underflows, constant_underflows, cancellations, coarse),
    *(coordinates, whole_numbers, angles),
)


_INSIDE_FLOATS = (Encoding.QDQ, Encoding.WEIGHT_ONLY)
"""What such a precision leaves in floats has the hazards of the float format around it."""


def hazards(
    graph: GraphView,
    space: SearchSpace,
    statistics: ScreenStatistics | None,
    scheme: QuantScheme,
    *,
    int8_half: bool = False,
    form: GraphForm = TYPED,
) -> tuple[Prior, ...]:
    """Priors against float formats, weak ones against INT8 and what is slow, in graph order.

    Args:
        graph: The prepared model.
        space: Its groups; a group gets priors for the precisions that it may take.
        statistics: Of a screening run over sample data. ``None``: only constants are judged.
        scheme: How the backend writes INT8.
        int8_half: Whether INT8 has FP16 around it, so that FP16's hazards are INT8's too.
        form: What kind of graph the backend builds from.

    Returns:
        At most one prior for each group and precision, that of its gravest hazard.
    """
    around = Precision.FP16 if int8_half else Precision.FP32
    floats = {p for p in (*space.precisions, around) if p.spec.encoding is Encoding.CAST}
    gravest = {
        p: _gravest(Screened(graph, space, statistics, p, form.typed_as(p.spec.format)))
        for p in Precision.ordered(floats)
    }
    hints = int8_hints(Screened(graph, space, statistics), scheme)
    slow = attention_hints(graph, space, scheme)
    priors: list[Prior] = []
    for group in space.groups:
        for choice in group.choices[1:]:
            computed = around if choice.spec.encoding in _INSIDE_FLOATS else choice
            bad = gravest.get(computed, {}).get(group.key)
            if bad is not None:
                sentence = f"{choice.value.upper()} excluded: {bad.reason}"
            elif choice is Precision.INT8 and group.key in hints:
                sentence = f"INT8 left out at first: {hints[group.key]}"
            elif (group.key, choice) in slow:
                sentence = f"{choice.value.upper()} left out at first: {slow[group.key, choice]}"
            else:
                continue
            priors.append(Prior(group.key, choice, True, sentence, (group.key, choice) in slow))
    return tuple(priors)


def suspected(graph: GraphView, statistics: ScreenStatistics | None) -> bool:
    """Whether any rule against FP16 has a finding, whatever the groups.

    Args:
        graph: The prepared model.
        statistics: Of a screening run over sample data. ``None``: only constants are judged.
    """
    screened = Screened(graph, SearchSpace(()), statistics)
    return any(True for rule in _RULES for _ in rule(screened))


def harmful_constants(
    graph: GraphView, space: SearchSpace, statistics: ScreenStatistics | None
) -> frozenset[tuple[str, str]]:
    """(constant, key of a node that reads it) where FP16 makes an infinity that does harm.

    The -3.4e38 of a mask does none where a Softmax gives 0 for it.

    Args:
        graph: The prepared model.
        space: Its groups.
        statistics: Of a screening run over sample data.
    """
    harmful_values = harmful(Screened(graph, space, statistics))
    return frozenset((name, node.key) for name, node in harmful_values)


def _gravest(screened: Screened) -> dict[str, Finding]:
    """Group key → its gravest finding, the first of equals."""
    gravest: dict[str, Finding] = {}
    for rule in _RULES:
        for finding in rule(screened):
            key = screened.group(finding.node)
            if not cast_capable(finding.node, screened.graph, screened.typed_as):
                continue
            if key not in gravest or finding.gravity > gravest[key].gravity:
                gravest[key] = finding
    return gravest
