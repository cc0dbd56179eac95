"""A finished run's plan is its plan: to resume it is to write that plan again.

Nothing is measured, since a second measurement of the finalists can put another one first. With a
larger budget the search goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path

from precsearch._version import __version__
from precsearch.core.errors import InputError
from precsearch.core.events import Event, PlanWritten, RunStarted, StageStarted
from precsearch.core.trial import UNKNOWN
from precsearch.plan.plan import Plan, evidence_path, read_plan
from precsearch.replay.materialize import build
from precsearch.replay.portable import artifact_paths
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.files import write_text
from precsearch.setup.outputs import Outputs, Record

__all__ = ["keep_plan", "kept_plan", "write_plan", "written_again"]

_PLAN = "plan.json"
_INTERRUPTED = "interrupted"


def write_plan(config: OptimizeConfig, outputs: Outputs, plan: Plan) -> None:
    """Write a plan where the user wants it, and its evidence beside it.

    Raises:
        OutputError: One cannot be written.
    """
    outputs.write(config.plan_path, plan.without_evidence().encode())
    outputs.write(evidence_path(config.plan_path), plan.evidence_json().encode())


def keep_plan(config: OptimizeConfig, outputs: Outputs, result: OptimizeResult) -> None:
    """Keep a run's plan in its directory, whole, before it goes to where the user wants it.

    Raises:
        OutputError: The run directory cannot be written.
    """
    assert result.plan is not None
    text = result.plan.to_json()
    write_text(config.run_path / _PLAN, text)
    outputs.note(plan=_digest(text), budget=_budget(config), met=result.met, summary=result.summary)


def written_again(
    config: OptimizeConfig, outputs: Outputs, identified: dict[str, str], trials: int
) -> Generator[Event, None, OptimizeResult | None]:
    """Write the outputs of a finished run; gives ``None`` if the run is not finished.

    Args:
        config: What the user asks for; the journal is known to be of the same run.
        outputs: What the run has written.
        identified: Which run it is.
        trials: How many the journal holds.

    Raises:
        InputError: An output cannot be written.
        ReplayError: The artifact, which is missing, cannot be made from the plan here.
        EngineError: The engine of the artifact does not build here.
    """
    plan = _finished(config, outputs, trials)
    if plan is None:
        return None
    yield RunStarted(identified, config.model.name, __version__)
    yield StageStarted("finished", "nothing is measured again: the plan is the one on record")
    write_plan(config, outputs, plan)
    artifact = config.artifact
    if artifact is not None and not outputs.has(artifact):
        kept = config.run_path / _PLAN
        build(kept, config.model, artifact, force=outputs.may_replace(artifact))
        for written in artifact_paths(config.backend, artifact):
            outputs.write(written, written.read_bytes())
    evidence = plan.evidence
    yield PlanWritten(
        str(config.plan_path), evidence.latency.ratio, evidence.accuracy.loss, _counts(plan)
    )
    record = outputs.record
    return OptimizeResult(
        plan,
        config.plan_path,
        artifact,
        met=record.met,
        interrupted=False,
        summary=record.summary,
    )


def _finished(config: OptimizeConfig, outputs: Outputs, trials: int) -> Plan | None:
    """The plan of a run that came to its end with this budget."""
    record = outputs.record
    if record.budget != _budget(config):
        return None
    plan = _kept(config.run_path, record)
    ours = plan is not None and (trials > 0 or not plan.evidence.trials)
    return plan if plan and ours and plan.evidence.stopped != _INTERRUPTED else None


def kept_plan(run_dir: Path) -> Plan | None:
    """The plan that a run has kept in its directory; ``None`` if there is none of that run."""
    return _kept(run_dir, Record.read(run_dir))


def _kept(run_dir: Path, record: Record) -> Plan | None:
    if not record.plan:
        return None
    try:
        plan = read_plan(run_dir / _PLAN)
    except InputError:
        return None
    return plan if _digest(plan.to_json()) == record.plan else None


def _budget(config: OptimizeConfig) -> str:
    return f"{config.max_builds} engines, {config.time_budget} s"


def _counts(plan: Plan) -> dict[str, int]:
    """Groups per achieved precision, of those asked for less than FP32."""
    asked = set(plan.recipe.assignment)
    rows = [g.achieved for g in plan.evidence.groups if g.key in asked]
    return dict(Counter(UNKNOWN if p is None else p.value for p in rows))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
