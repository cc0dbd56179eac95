"""What each precision needs on its way from an assignment to a page, one check a stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest

from precsearch.cli.options.parse import parse_precision, parse_precisions
from precsearch.cli.progress.trial_table import trial_table
from precsearch.cli.progress.view import View
from precsearch.core.backend import TYPED, KernelTime
from precsearch.core.errors import OptionError
from precsearch.core.formats import FORMATS
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.core.trial import Accuracy, Fidelity, Measured, Measurement, Proposal, Trial
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.single import FlatProxy
from precsearch.formatting import Scale
from precsearch.formatting import counts as counts_in_words
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.measurement.profiling import achieved_precisions
from precsearch.optimization.stages.select import Choice, counts
from precsearch.plan.plan import GroupEvidence, GroupRecipe, Plan, TrialEvidence
from precsearch.report.charts.theme import precision_colours
from precsearch.report.html import label_colours
from precsearch.report.trial_facts import abridged, in_words
from tests.cli.runs import plan
from tests.lowering.golden import TENSORRT, old_conv_net, prepared, ranges

FP32 = Precision.FP32


@lru_cache
def model() -> tuple[GraphView, SearchSpace, RangeScales]:
    """A small convolutional model, prepared, with its groups and ranges."""
    graph = prepared(old_conv_net(11), TYPED.min_opset)
    space = group(graph, TENSORRT, frozenset(Precision))
    return graph, space, RangeScales(ranges(graph, space, TENSORRT), TENSORRT)


def space_with(precision: Precision) -> SearchSpace:
    """The model's groups; those that take ``precision`` (if none does, all) have it beside FP32."""
    space = model()[1]
    takers = [g for g in space.groups if precision in g.choices[1:]] or space.free
    groups = (
        replace(g, choices=tuple(dict.fromkeys((FP32, precision))) if g in takers else (FP32,))
        for g in space.groups
    )
    return replace(space, groups=tuple(groups))


def everywhere(precision: Precision) -> tuple[SearchSpace, Assignment]:
    """Every free group at ``precision``, and the space in which that is offered.

    Left out is what has no nodes of its own: the decision on an Add's second input.
    """
    space = space_with(precision)
    return space, space.uniform(precision, without=(g.key for g in space.groups if not g.nodes))


def refuses(make: Callable[[], object], assignment: Assignment, precision: Precision) -> None:
    """What has no form for a precision says so, and of which group."""
    with pytest.raises(OptionError, match=rf"\b{precision}\b") as caught:
        make()
    assert any(repr(key) in str(caught.value) for key in assignment)


def achievable(assignment: Assignment) -> Assignment:
    """The assignment if it has a form here, else that of FP32."""
    offered = model()[1].precisions
    return assignment if all(p in offered for _, p in assignment.entries) else Assignment()


def has_a_row(precision: Precision) -> None:
    assert precision.bits == precision.spec.format.bits > 0
    assert FORMATS[precision.spec.format.name] is precision.spec.format
    assert [p for p in Precision if p.rank == precision.rank] == [precision]
    assert (precision.rank == 0) is (precision is FP32)
    assert space_with(precision).precisions[-1] is precision


def is_lowered(precision: Precision) -> None:
    graph, offered, scales = model()
    space, assignment = everywhere(precision)
    lowering = Lowering(graph, space, TENSORRT, scales, TYPED)
    if precision not in offered.precisions:
        refuses(lambda: lowering.lower(assignment), assignment, precision)
        return
    made = lowering.lower(assignment)
    assert {made.owners[node] for node in made.asked} == set(assignment)
    assert set(made.asked.values()) == {precision} - {FP32}
    assert (made.sha256 == lowering.lower(Assignment()).sha256) is (precision is FP32)


def is_simulated(precision: Precision) -> None:
    graph, offered, scales = model()
    space, assignment = everywhere(precision)
    if precision not in offered.precisions:
        refuses(
            lambda: ProxyGraph(LoweringContext(graph, space, TENSORRT, scales)),
            assignment,
            precision,
        )
        refuses(
            lambda: FlatProxy(LoweringContext(graph, space, TENSORRT, scales), assignment),
            assignment,
            precision,
        )
        return
    every = ProxyGraph(LoweringContext(graph, space, TENSORRT, scales, TYPED))
    assert any(every.request(assignment).flags) is (precision is not FP32)
    output = [o.name for o in graph.outputs]
    flat, plain = (
        FlatProxy(LoweringContext(graph, space, TENSORRT, scales, TYPED), a).with_outputs(output)
        for a in (assignment, Assignment())
    )
    assert (flat == plain) is (precision is FP32)


def is_achieved_and_counted(precision: Precision) -> None:
    graph, _, scales = model()
    space, assignment = everywhere(precision)
    made = Lowering(graph, space, TENSORRT, scales, TYPED).lower(achievable(assignment))
    kernels = [KernelTime((node,), "Kernel", 1e-6, precision) for node in made.asked]
    ran = achieved_precisions(kernels, made.asked, made.owners)
    assert ran == {made.owners[node]: precision for node in made.asked}
    mixed = [*kernels[1:], *(replace(k, precision=FP32) for k in kernels[:1])]
    ran_mixed = achieved_precisions(mixed, made.asked, made.owners)
    assert all(ran_mixed[made.owners[node]] is FP32 for k in kernels[:1] for node in k.nodes)
    counted = counts(choice(assignment, ran), achievable(assignment))
    assert counted == ({precision.value: len(ran)} if ran else {})


def is_kept_by_a_plan(precision: Precision) -> None:
    made = _plan(precision)
    again = Plan.from_json(made.to_json())
    assert again == made
    assert again.recipe.assignment == everywhere(precision)[1]


def is_reported(precision: Precision) -> None:
    assignment = everywhere(precision)[1]
    (fact,) = abridged(_plan(precision))
    assert fact.counts == ({precision.value: len(assignment)} if assignment else {})
    words = in_words(assignment, {})
    assert words.startswith(f"{precision}: " if assignment else "all fp32")


def has_words(precision: Precision) -> None:
    assert counts_in_words({"unknown": 1, precision.value: 2}).startswith(f"2 {precision}")
    assert parse_precision(precision.value) is precision
    assert parse_precisions(f"{precision},fp32")[-1] is precision
    trial = _trial(everywhere(precision)[1], {})
    heading, row = (str(t) for t in trial_table(View(engines=(trial,)), 100, 3, Scale("rel-l2")))
    assert precision is FP32 or heading.split()[1:].index(precision.value) >= 0
    assert precision is FP32 or str(len(trial.assignment)) in row.split()


def has_a_colour(precision: Precision) -> None:
    colours = precision_colours()
    assert list(colours.values()).count(colours[precision.value]) == 1
    assert f".precision.{precision} {{ background: #" in label_colours()


STAGES = (
    has_a_row,
    is_lowered,
    is_simulated,
    is_achieved_and_counted,
    is_kept_by_a_plan,
    is_reported,
    has_words,
    has_a_colour,
)


def _trial(assignment: Assignment, ran: dict[str, Precision]) -> Trial:
    found = Measurement(Accuracy(0.0, 0.0), achieved=ran)
    return Trial(0, Proposal(assignment, Fidelity.ENGINE), Measured(found))


def choice(assignment: Assignment, ran: dict[str, Precision]) -> Choice:
    trial = _trial(assignment, ran)
    assert trial.measurement is not None
    return Choice(trial, trial.measurement, None, ())


def _plan(precision: Precision) -> Plan:
    space, assignment = everywhere(precision)
    made = plan()
    rows = tuple(GroupRecipe(g.key, g.kind, assignment[g.key], "12") for g in space.groups)
    ran = tuple(GroupEvidence(g.key, assignment[g.key], "because") for g in space.groups)
    counted = {precision.value: len(assignment)} if assignment else {}
    trial = TrialEvidence(0, assignment.digest[:12], counted, "engine", 0.0, 1.0)
    return Plan(
        replace(made.recipe, groups=rows),
        made.criteria,
        replace(made.evidence, groups=ran, trials=(trial,)),
    )
