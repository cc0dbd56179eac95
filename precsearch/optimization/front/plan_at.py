"""`precsearch plan`: the plan of another engine of a finished run; nothing is measured anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.errors import OptionError
from precsearch.core.objective import Objective
from precsearch.core.problem import Bound, Goal, Problem
from precsearch.core.trial import Accuracy, Latency, Measured
from precsearch.formatting import Scale, loss_bound
from precsearch.optimization.explanation.caveats import hidden_by_loss
from precsearch.optimization.explanation.demoted import demoted
from precsearch.optimization.explanation.explain import explain_groups, ledger
from precsearch.optimization.front.points import Point, front_of
from precsearch.optimization.front.recall import FinishedRun, Recalled, recalled
from precsearch.optimization.front.runs import best_within, finished_runs
from precsearch.optimization.stages.select import Choice
from precsearch.optimization.write_plan import relowered, short_accuracy, short_latency
from precsearch.plan.plan import Evidence, Plan, evidence_path
from precsearch.setup.files import check_free, write_output

__all__ = ["PlanAtReport", "front", "plan_at"]

_ONCE = "it was timed during the search alone"
_SETTLED = ("kept in fp32", "at least ")


@dataclass(frozen=True)
class PlanAtReport:
    """What `plan_at` wrote.

    Attributes:
        path: The plan.
        evidence: What was measured, beside it.
        plan: The plan itself.
        number: Of the engine, in the run.
        lines: What the user should know of it, a sentence each.
        backend: Where it runs, if the search was on several engines.
    """

    path: Path
    evidence: Path
    plan: Plan
    number: int
    lines: tuple[str, ...]
    backend: str = ""


def front(run: str | Path) -> tuple[str, tuple[Point, ...]]:
    """The Pareto front of a finished run: its metric, and its points, fastest first.

    Of a search on several engines, the points of all of them.

    Raises:
        InputError: The run cannot be read, or has no plan yet.
    """
    runs = finished_runs(Path(run))
    return runs[0].plan.criteria.metric, front_of([p for one in runs for p in one.points])


def plan_at(
    run: str | Path,
    tolerance: float,
    output: str | Path,
    *,
    model: str | Path | None = None,
    force: bool = False,
) -> PlanAtReport:
    """Write the plan of a run's best engine within another tolerance.

    That is the fastest one, or what else the run minimized, within the limits that it had. Of a
    search on several engines, the best of all of them.

    Args:
        run: The run directory, or its journal.
        tolerance: In the terms of the run's metric.
        output: Where to write the plan; its evidence goes beside it.
        model: The original model; ``None`` looks for it beside the run directory.
        force: Replace what is there.

    Raises:
        InputError: Run or model cannot be read, the run has no plan yet, or none of its engines is
            within the tolerance.
        ReplayError: The model is another one, or the engine does not come out as it was measured.
        OutputError: The plan cannot be written.
    """
    runs = finished_runs(Path(run))
    target_path = Path(output)
    source = _model(Path(run), runs[0].model, model)
    paths = [target_path, evidence_path(target_path)]
    kept = (one.folder / "plan.json" for one in runs)
    check_free(paths, force=force, inputs=(source, *kept))
    bound = loss_bound(runs[0].plan.criteria.metric, tolerance)
    best = best_within([(one, _goal(one, tolerance)) for one in runs])
    if best is None:
        raise OptionError(_none_within(runs, bound))
    run_record, point = best
    lowered_again = recalled(run_record, source, point.trial)
    lines = (*_among(runs, run_record), *_said(run_record, point, bound))
    plan = _plan(run_record, point, lowered_again, tolerance, lines)
    write_output(paths[0], plan.without_evidence(), force=force)
    write_output(paths[1], plan.evidence_json(), force=force)
    return PlanAtReport(paths[0], paths[1], plan, point.trial.number, lines, point.backend)


def _model(run: Path, name: str, model: str | Path | None) -> Path:
    if model is not None:
        return Path(model)
    folder = run if run.is_dir() else run.parent
    guess = folder.resolve().parent / Path(name).name
    if not guess.is_file():
        raise OptionError(
            f"name the model with --model: there is no {guess.name!r} beside the run directory"
        )
    return guess


def _goal(run: FinishedRun, tolerance: float) -> Goal:
    """What a search of the run's kind for this tolerance would have been asked for."""
    asked, noise = run.plan.criteria, run.plan.evidence.noise
    bound = Bound(loss_bound(asked.metric, tolerance), asked.metric)
    return Goal(bound, noise, Objective(asked.objective), asked.limits)


def _among(runs: Sequence[FinishedRun], run: FinishedRun) -> tuple[str, ...]:
    """Where the engine runs, and how engines were compared, of a search on several."""
    if len(runs) == 1:
        return ()
    names = " and ".join(one.plan.recipe.backend for one in runs)
    when = "in the same rounds" if run.together else "at different times"
    return (
        f"the best of the engines on {names}, by each one's speed over its own FP32 engine; the "
        f"FP32 engines were timed {when}",
    )


def _none_within(runs: Sequence[FinishedRun], bound: float) -> str:
    criteria = runs[0].plan.criteria
    scale = Scale(criteria.metric)
    least = min((p.loss for run in runs for p in run.points), default=float("inf"))
    limits = " and the limits of the run" if criteria.limits.given else ""
    return (
        f"no engine of this run is within {scale.bound(bound)}{limits}: the most accurate one is "
        f"off by {scale(least)}; raise --at, or search with that --tol and --warm-start"
    )


def _said(run: FinishedRun, point: Point, bound: float) -> tuple[str, ...]:
    """What is known of the engine, and what is not."""
    plan = run.plan
    scale = Scale(plan.criteria.metric)
    asked = scale.bound(loss_bound(plan.criteria.metric, plan.criteria.tolerance))
    lines = [f"engine {point.trial.number} of a search for {asked}; nothing was measured anew"]
    if point.look is None and point.trial.assignment.entries:
        lines.append("it was no finalist: its speed is that of the search, not confirmed")
    if point.on_holdout:
        assert point.look is not None
        assert point.look.holdout_loss is not None
        lines.append(f"the holdout confirms it: {scale(point.look.holdout_loss)}")
    elif _has_holdout(plan):
        lines.append("the holdout was not looked at for it: precsearch verify --data measures it")
    upper = point.found.accuracy.upper
    if upper > bound:
        lines.append(
            f"with other samples its loss may be up to {scale(upper)}, by resampling: a search "
            "for this bound would not have chosen it"
        )
    return tuple(lines)


def _has_holdout(plan: Plan) -> bool:
    return plan.criteria.data.get("holdout", "none") != "none"


def _plan(
    run: FinishedRun, point: Point, rebuilt: Recalled, tolerance: float, lines: tuple[str, ...]
) -> Plan:
    plan = run.plan
    assignment = point.trial.assignment
    groups = tuple(replace(g, precision=assignment[g.key]) for g in plan.recipe.groups)
    recipe = relowered(replace(plan.recipe, groups=groups), rebuilt.target, rebuilt.lowered)
    criteria = replace(plan.criteria, tolerance=tolerance)
    return Plan(recipe, criteria, _evidence(run, point, rebuilt, tolerance, lines))


def _evidence(
    run: FinishedRun, point: Point, rebuilt: Recalled, tolerance: float, lines: tuple[str, ...]
) -> Evidence:
    before = run.plan.evidence
    problem = _problem(run, rebuilt, tolerance)
    bound = problem.goal.bound.tolerance
    looks = tuple(
        replace(k, passed=(k.search_loss if k.holdout_loss is None else k.holdout_loss) <= bound)
        for k in before.finalists
    )
    choice = Choice(point.trial, point.found, _holdout(run, point), looks)
    achieved, kept = point.found.achieved, _kept(before)
    notes = (*lines, *_still_true(run, rebuilt), *_hidden(run, problem, choice))
    notes += demoted(point.trial.assignment, achieved)
    return replace(
        before,
        latency=short_latency(_latency(point)),
        accuracy=short_accuracy(point.found.accuracy),
        holdout=choice.holdout,
        groups=explain_groups(problem, point.trial.assignment, achieved, ledger(run.trials), kept),
        finalists=looks,
        warnings=tuple(dict.fromkeys(notes)),
        engine=before.engine if point.chosen else (),
    )


def _problem(run: FinishedRun, rebuilt: Recalled, tolerance: float) -> Problem:
    """What a search for this tolerance would have been asked."""
    kept = _kept(run.plan.evidence)
    space = rebuilt.target.space
    settled = tuple(
        replace(g, choices=g.choices[:1]) if kept.get(g.key, "").startswith(_SETTLED[0]) else g
        for g in space.groups
    )
    goal = _goal(run, tolerance)
    return Problem(replace(space, groups=settled), goal, priors=rebuilt.priors)


def _still_true(run: FinishedRun, rebuilt: Recalled) -> tuple[str, ...]:
    """The warnings of the run, but for those about the engine that it chose."""
    plan = run.plan
    own = next((p for p in run.points if p.chosen), None)
    if own is None:
        return plan.evidence.warnings
    choice = Choice(own.trial, own.found, plan.evidence.holdout, plan.evidence.finalists)
    stale = _hidden(run, _problem(run, rebuilt, plan.criteria.tolerance), choice)
    stale += demoted(own.trial.assignment, own.found.achieved)
    return tuple(w for w in plan.evidence.warnings if w not in stale)


def _hidden(run: FinishedRun, problem: Problem, choice: Choice) -> tuple[str, ...]:
    trials = [replace(p.trial, outcome=Measured(p.found)) for p in run.points]
    return hidden_by_loss(problem, trials, choice)


def _holdout(run: FinishedRun, point: Point) -> Accuracy | None:
    """What is on record of the engine's loss there: of the run's own choice all, of others one."""
    if point.chosen:
        return run.plan.evidence.holdout
    if point.look is None or point.look.holdout_loss is None:
        return None
    return Accuracy(point.look.holdout_loss, float("nan"))


def _latency(point: Point) -> Latency:
    measured = point.trial.measurement
    assert measured is not None
    assert measured.latency is not None
    if point.look is not None or not point.trial.assignment.entries:
        return measured.latency
    doubts = dict.fromkeys((*measured.latency.unsure, _ONCE))
    return replace(measured.latency, unsure=tuple(doubts))


def _kept(before: Evidence) -> Mapping[str, str]:
    """Why the user's control left groups fewer choices, as the run's plan says it."""
    reasons = {g.key: g.reason.partition("; ")[0] for g in before.groups}
    return {key: why for key, why in reasons.items() if why.startswith(_SETTLED)}
