"""A finished run as its directory has it: its plan, its engines, and how it lowered them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.errors import InputError, ReplayError
from precsearch.core.events import RunStarted, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.trial import Trial
from precsearch.lowering.lower import Lowered
from precsearch.optimization.finished import kept_plan
from precsearch.optimization.front.points import Point, points_of
from precsearch.optimization.stages.calibrate import calibrated_before
from precsearch.optimization.stages.corrected import Corrected, CorrectedLowerings, shipped_target
from precsearch.optimization.stages.corrections_file import stored_corrections
from precsearch.optimization.stages.screen import screened_before
from precsearch.plan.plan import Plan, RewriteRecipe
from precsearch.replay.materialize import original, plan_target
from precsearch.rewrites.scaling.equalize import EQUALIZE
from precsearch.rewrites.scaling.smooth import SMOOTH
from precsearch.search.journal import read
from precsearch.setup.target import Target

__all__ = ["FinishedRun", "Recalled", "finished_run", "recalled"]

_OTHERS = ("BatchProposed", "TrialStarted", "StageStarted")


@dataclass(frozen=True)
class FinishedRun:
    """What a run directory tells without its model.

    Attributes:
        folder: The run directory.
        model: The name of its model's file.
        identity: Which run it is.
        plan: Its own plan, with the evidence.
        trials: Its trials, numbered as in the journal.
        points: Its engines, numbered as in the plan.
        together: Of a search on several engines, whether their FP32 engines were timed in the same
            rounds.
    """

    folder: Path
    model: str
    identity: dict[str, str]
    plan: Plan
    trials: tuple[Trial, ...]
    points: tuple[Point, ...]
    together: bool = True


@dataclass(frozen=True)
class Recalled:
    """How an engine of a run was lowered.

    Attributes:
        target: The model, with the rewrites that the engine has.
        lowered: The engine's model, byte for byte.
        priors: Hazards that the search knew.
    """

    target: Target
    lowered: Lowered
    priors: tuple[Prior, ...]


def finished_run(run: Path) -> FinishedRun:
    """Read a run directory, or the journal in it.

    Raises:
        InputError: It cannot be read, or the run has no plan yet.
    """
    folder = run if run.is_dir() else run.parent
    started: RunStarted | None = None
    trials: list[Trial] = []
    for event in read(run, skip=_OTHERS):
        if isinstance(event, RunStarted):
            started = event
        elif isinstance(event, TrialFinished):
            trials.append(event.trial)
    plan = kept_plan(folder)
    if started is None or plan is None:
        raise InputError(
            f"the run in {str(folder)!r} has written no plan yet; let it end, or go on with it: "
            "precsearch optimize with --resume"
        )
    return FinishedRun(
        folder, started.model, dict(started.identity), plan, tuple(trials), points_of(trials, plan)
    )


def recalled(run: FinishedRun, model: Path, trial: Trial) -> Recalled:
    """Lower an engine of a run as the run did, by what is stored in its directory.

    That it is the very engine is not believed but checked: its digest is in the journal.

    Raises:
        ModelError: The model cannot be read.
        ReplayError: It is another one, or the engine that comes out is not the one of the journal.
    """
    plan = run.plan
    source = original(plan, model)
    kept = _but_corrections(plan)
    base = replace(plan, recipe=replace(plan.recipe, rewrites=kept))
    known = len(kept) == len(plan.recipe.rewrites)
    target = plan_target(base, source, {Precision.FP32, *_offered(run)}, check=known)
    method, _, data = run.identity.get("calibration", "").partition(" ")
    before = calibrated_before(target, method, data, run.folder)
    if before is None:
        raise ReplayError(
            f"{str(run.folder)!r} no longer has the ranges that its engines were lowered with; "
            "make the plan with 'precsearch optimize' and --warm-start"
        )
    target, lowering = before
    lowerings = CorrectedLowerings(
        target, lowering, lambda made: calibrated_before(made, method, data, run.folder)
    )
    for corrected in _corrected(run, lowerings, Corrected(target, lowering)):
        lowered = corrected.lowering.lower(trial.assignment)
        if lowered.digest == trial.model_digest:
            priors = screened_before(target, data, run.folder)
            return Recalled(shipped_target(corrected.target, trial.assignment), lowered, priors)
    raise ReplayError(
        f"engine {trial.number} is lowered to another model here than in the search; compare the "
        "versions of precsearch, onnx, onnx_ir and numpy with those in the plan's evidence"
    )


def _corrected(
    run: FinishedRun, lowerings: CorrectedLowerings, plain: Corrected
) -> Iterator[Corrected]:
    """With every set of corrections that is stored, and without any."""
    for corrections in stored_corrections(run.folder):
        corrected = lowerings.made(corrections)
        if corrected is not None:
            yield corrected
    yield plain


def _but_corrections(plan: Plan) -> tuple[RewriteRecipe, ...]:
    return tuple(r for r in plan.recipe.rewrites if r.name not in (EQUALIZE, SMOOTH))


def _offered(run: FinishedRun) -> Iterator[Precision]:
    for label in run.identity.get("precisions", "").split(","):
        precision = Precision.named(label)
        if precision is not None:
            yield precision
