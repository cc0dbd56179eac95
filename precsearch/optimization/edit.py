"""`edit`: another precision for some groups of a plan, by hand; nothing is measured.

The new plan is as valid as any: `build` makes its model, and `verify` measures it. Its evidence
says that nobody has done so yet: loss and latency are no numbers, and each changed group says what
it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.backend import Backend
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.trial import Accuracy, Latency
from precsearch.graph.reading.read import read_model
from precsearch.grouping.control import matching, pin
from precsearch.optimization.write_plan import relowered
from precsearch.plan.plan import Evidence, GroupEvidence, Plan, read_plan
from precsearch.replay.materialize import lowered_again, materialize
from precsearch.replay.model_file import model_beside
from precsearch.setup.files import check_free, write_output

__all__ = ["EditReport", "edit"]


@dataclass(frozen=True)
class EditReport:
    """What `edit` wrote.

    Attributes:
        path: The new plan.
        digest: Its digest.
        changed: Group → precision before and after.
    """

    path: Path
    digest: str
    changed: Mapping[str, tuple[Precision, Precision]]


def edit(
    plan: str | Path,
    changes: Mapping[str, str],
    output: str | Path,
    *,
    model: str | Path | None = None,
    force: bool = False,
) -> EditReport:
    """Write a plan with other precisions for some groups.

    Args:
        plan: The plan file.
        changes: Pattern of groups, as `precsearch.grouping.control.Pin` has it → precision.
        output: Where to write the new plan.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        force: Replace what is there.

    Raises:
        InputError: Plan or model cannot be read; a pattern matches nothing; a group cannot have its
            precision; the plan holds no scale that INT8 needs.
        ReplayError: The model is another one, or the plan does not reproduce.
        OutputError: The new plan cannot be written.
    """
    path, target_path = Path(plan), Path(output)
    source = model_beside(path, None if model is None else Path(model))
    check_free([target_path], force=force, inputs=(path, source))
    read = read_plan(path)
    materialized = materialize(read, source, None)
    edits: dict[str, Precision] = {}
    for pattern, precision in changes.items():
        one = pin(pattern, precision, option=f"--set {pattern}={precision}")
        _check_runs(materialized.target.backend, one.precision, one.option)
        keys = matching(
            materialized.target.space, materialized.target.graph, one.pattern, one.option
        )
        edits |= dict.fromkeys(keys, one.precision)
    before = {g.key: g.precision for g in read.recipe.groups}
    changed = {k: (before[k], p) for k, p in edits.items() if before[k] is not p}
    if not changed:
        raise OptionError("--set changes nothing: these groups have that precision already")
    groups = tuple(replace(g, precision=edits.get(g.key, g.precision)) for g in read.recipe.groups)
    edited = replace(read, recipe=replace(read.recipe, groups=groups))
    again = lowered_again(edited, read_model(source))
    recipe = relowered(edited.recipe, again.target, again.lowered)
    result = Plan(recipe, read.criteria, _unmeasured(read.evidence, changed, read.digest))
    write_output(target_path, result.to_json(), force=force)
    return EditReport(target_path, result.digest, changed)


def _check_runs(backend: Backend, precision: Precision, option: str) -> None:
    """Refuse a precision that no group of this plan can have.

    Raises:
        OptionError: The plan's backend does not run it.
    """
    if precision not in backend.precisions:
        runs = ", ".join(p.value for p in Precision.ordered(backend.precisions))
        raise OptionError(
            f"{option}: the plan's backend, {backend.name}, does not run {precision}; use one of "
            f"{runs}"
        )


def _unmeasured(
    evidence: Evidence, changed: Mapping[str, tuple[Precision, Precision]], digest: str
) -> Evidence:
    """Evidence of a plan that nobody has measured."""
    nan = math.nan
    shapes = tuple(replace(s, seconds=nan, ratio=nan) for s in evidence.latency.by_shape)
    why = "edited by hand and not measured since"
    note = (
        f"{why}: {len(changed)} groups differ from the plan {digest[:12]}, whose trials these are; "
        "'precsearch verify' measures this one"
    )
    reasons = {g.key: g.reason for g in evidence.groups}
    keys = dict.fromkeys((*reasons, *changed))
    return replace(
        evidence,
        latency=Latency(nan, nan, nan, nan, nan, nan, by_shape=shapes, unsure=(why,)),
        accuracy=Accuracy(nan, nan),
        holdout=None,
        groups=tuple(GroupEvidence(k, None, _reason(k, changed, reasons)) for k in keys),
        finalists=(),
        warnings=(note, *evidence.warnings),
        engine=(),
        tactics={},
        predictions=None,
    )


def _reason(
    key: str, changed: Mapping[str, tuple[Precision, Precision]], reasons: Mapping[str, str]
) -> str:
    if key not in changed:
        return reasons.get(key, "")
    was, now = changed[key]
    return f"set to {now} by hand, was {was}"
