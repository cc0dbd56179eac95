"""What a report is about: the journal of a run, its plan, or both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from precsearch.core.errors import InputError, OptionError, PlanError
from precsearch.core.events import (
    Event,
    FinalistJudged,
    FinalistsTimed,
    PlanWritten,
    RunStarted,
    SearchFinished,
    SearchStarted,
    TrialFinished,
    Warned,
)
from precsearch.core.trial import Proposal
from precsearch.optimization.across.table_file import ENGINES, EngineTable, read_table
from precsearch.plan.plan import Plan, read_plan
from precsearch.search.journal import NAME, read
from precsearch.system.regular_file import is_regular, read_regular

__all__ = ["Range", "Story", "is_run", "tell"]

Range = tuple[float, float]

_MAX_BYTES = 1 << 28
"""Of stored ranges: some dozen bytes a tensor."""


@dataclass(frozen=True)
class Story:
    """A run, as far as it got and as far as it was kept.

    Attributes:
        model: File name of the model; of the plan, where there is no journal.
        plan: The plan, ``None`` if none was written or found.
        plan_path: Where it is.
        run: The run's start, ``None`` without a journal.
        search: The search's start, ``None`` before it or without a journal.
        finished: The end of the search, ``None`` before it or without a journal.
        done: Finished trials in the order they ended, each assignment and fidelity once.
        finalists: Those judged.
        warnings: What the user should know, each once.
        ranges: Lowest and highest value by tensor, as calibrated, of more tensors than the plan
            quantizes; empty where they were not kept.
        engines: What each engine reached in a search on several backends, of which this is the run
            of the one that was shipped; ``None`` in a search on one.
        again: Latency of finalists, relative to FP32's, as they were timed beside each other at the
            end, by trial.
    """

    model: str
    plan: Plan | None = None
    plan_path: Path | None = None
    run: RunStarted | None = None
    search: SearchStarted | None = None
    finished: SearchFinished | None = None
    done: tuple[TrialFinished, ...] = ()
    finalists: tuple[FinalistJudged, ...] = ()
    warnings: tuple[str, ...] = ()
    ranges: Mapping[str, Range] = field(default_factory=dict)
    engines: EngineTable | None = None
    again: Mapping[int, float] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.plan is not None


def is_run(path: Path) -> bool:
    """Whether ``path`` names a run directory or a journal, rather than a plan."""
    return path.is_dir() or path.suffix == ".jsonl"


def tell(paths: Sequence[Path]) -> Story:
    """Read a run directory, its plan, or both.

    Args:
        paths: At most one run directory or journal and at most one plan, in any order. The run
            directory of a search on several backends stands for the run that was shipped.

    Raises:
        InputError: The journal cannot be read, is damaged, or is not one.
        PlanError: The plan cannot be read.
        OptionError: Two of a kind, or a plan of another model than the journal's.
    """
    runs = [p for p in paths if is_run(p)]
    plans = [p for p in paths if not is_run(p)]
    if len(runs) > 1 or len(plans) > 1:
        raise OptionError("a report is about one run and its plan, or compares two plans")
    plan = read_plan(plans[0]) if plans else None
    if not runs:
        assert plan is not None
        model = plans[0].name.removesuffix(".json").removesuffix(".plan")
        return Story(model, plan, plans[0], warnings=(*plan.notes, *plan.evidence.warnings))
    table = _table(runs[0])
    run = runs[0] if table is None else runs[0] / table.shipped
    events = _events(run)
    story = replace(_listen(events), engines=table)
    assert story.run is not None
    folder = run if run.is_dir() else run.parent
    ranges = _ranges(folder)
    if plan is not None:
        if not _same_model(plan, story.run):
            raise OptionError(
                f"the plan {str(plans[0])!r} is not of the model of the run {str(run)!r}; "
                "name one of them alone"
            )
        return _with(story, plan, plans[0], ranges)
    return _found(story, events, folder, ranges)


def _table(run: Path) -> EngineTable | None:
    """The table of a search on several backends, unless a search on one came after it.

    Raises:
        InputError: The table is damaged.
    """
    journal, table = run / NAME, run / ENGINES
    if not (run.is_dir() and is_regular(table)):
        return None
    later = is_regular(journal) and journal.stat().st_mtime > table.stat().st_mtime
    return None if later else read_table(run)


def _events(path: Path) -> list[Event]:
    """The events that a report shows; what was merely asked for is not decoded.

    Raises:
        InputError: There is no journal, or it is not one.
    """
    events = list(read(path, skip=("BatchProposed", "TrialStarted", "StageStarted")))
    if not events or not isinstance(events[0], RunStarted):
        where = path / NAME if path.is_dir() else path
        raise InputError(f"{str(where)!r} does not begin with a run; name a run's own folder")
    return events


def _listen(events: Iterable[Event]) -> Story:
    """A resumed run tells its start again; the last word stands."""
    run: RunStarted | None = None
    search: SearchStarted | None = None
    finished: SearchFinished | None = None
    done: dict[Proposal, TrialFinished] = {}
    finalists: list[FinalistJudged] = []
    again: dict[int, float] = {}
    warnings: dict[str, None] = {}
    for event in events:
        match event:
            case RunStarted():
                run, finished, finalists, again = event, None, [], {}
            case FinalistsTimed():
                again |= {row.number: row.ratio for row in event.times}
            case SearchStarted():
                search = event
            case SearchFinished():
                finished = event
            case TrialFinished():
                done[event.trial.proposal] = event
            case FinalistJudged():
                finalists.append(event)
            case Warned():
                warnings[event.message] = None
            case _:
                pass
    return Story(
        model="" if run is None else run.model,
        run=run,
        search=search,
        finished=finished,
        done=tuple(done.values()),
        finalists=tuple(finalists),
        warnings=tuple(warnings),
        again=again,
    )


def _found(
    story: Story, events: Sequence[Event], folder: Path, ranges: Mapping[str, Range]
) -> Story:
    """``story`` with the plan that the journal names, if it is still the run's."""
    last = events[-1]
    if not isinstance(last, PlanWritten):
        return _with(story, None, None, ranges)
    beside = folder.resolve().parent / Path(last.path).name
    # The path is as the user typed it, in a folder that the journal does not tell.
    # A journal may come from elsewhere: what it names is looked for here alone, not at any path.
    named = Path(last.path)
    inside = not named.is_absolute() and ".." not in named.parts
    for path in (*([named] if inside else []), beside):
        if not is_regular(path):
            continue
        try:
            plan = read_plan(path)
            ours = _same_run(plan, story)
        except PlanError:  # of the plan, or of its evidence, which a report is about
            continue
        if ours:
            return _with(story, plan, path, ranges)
    missed = f"the plan {last.path} was not found, or is not this run's: name it after the run"
    return _with(story, None, None, ranges, missed)


def _with(
    story: Story,
    plan: Plan | None,
    path: Path | None,
    ranges: Mapping[str, Range],
    *warnings: str,
) -> Story:
    known = () if plan is None else (*plan.notes, *plan.evidence.warnings)
    messages = tuple(dict.fromkeys((*story.warnings, *known, *warnings)))
    return replace(story, plan=plan, plan_path=path, warnings=messages, ranges=ranges)


def _same_model(plan: Plan, run: RunStarted) -> bool:
    return run.identity.get("model", "") == plan.recipe.model_sha256


def _same_run(plan: Plan, story: Story) -> bool:
    """Whether the plan tells of the trials of the journal."""
    assert story.run is not None
    numbered = {t.assignment for t in plan.evidence.trials}
    kept = {d.trial.assignment.digest[:12] for d in story.done}
    return _same_model(plan, story.run) and numbered <= kept


def _ranges(folder: Path) -> Mapping[str, Range]:
    """What calibration stored, if there is no doubt which it was; it only adds to the page."""
    files = sorted(folder.glob("ranges-*.json"))
    if len(files) != 1:
        return {}
    try:
        rows = json.loads(read_regular(files[0], _MAX_BYTES, follow=False))
        return {t: (float.fromhex(low), float.fromhex(high)) for t, (low, high) in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
