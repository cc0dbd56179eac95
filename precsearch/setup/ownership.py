"""Whose plan and whose journal are there already: those of another model are never replaced."""

from __future__ import annotations

from pathlib import Path

from precsearch.core.errors import InputError, OutputError, PlanError
from precsearch.core.events import RunStarted
from precsearch.graph.reading.read import SourceModel
from precsearch.plan.plan import read_plan
from precsearch.search.journal import NAME, read
from precsearch.setup.config import OptimizeConfig

__all__ = ["check_same_model"]

_TRIAL = b'"TrialFinished"'
_CHUNK = 1 << 20


def check_same_model(config: OptimizeConfig, source: SourceModel) -> None:
    """Refuse to write where the plan or the journal of another model is, ``--force`` or not.

    A plan or journal that cannot be read is no other model's; so is a journal without a trial.

    Raises:
        OutputError: The plan or the journal belongs to another model; the message names both.
    """
    now = f"{str(config.model)!r} ({_short(source.digest)})"
    plan = _planned(config.plan_path)
    if plan is not None and plan != source.digest:
        raise OutputError(
            f"{str(config.plan_path)!r} is the plan of another model ({_short(plan)}), not of "
            f"{now}; name another -o, or remove that plan"
        )
    run = _begun(config.run_path / NAME)
    if run is not None and run.identity.get("model", source.digest) != source.digest:
        raise OutputError(
            f"{str(config.run_path)!r} holds the journal of another model, {run.model!r} "
            f"({_short(run.identity['model'])}), not of {now}; name another "
            f"{'-o' if config.run_dir is None else '--run-dir'}, or remove that folder"
        )


def _planned(path: Path) -> str | None:
    """SHA-256 of the model that the plan at ``path`` is for; ``None`` if no plan is there."""
    try:
        return read_plan(path).recipe.model_sha256 if path.is_file() else None
    except (PlanError, OSError, ValueError):
        return None


def _begun(path: Path) -> RunStarted | None:
    """How the journal at ``path`` begins; ``None`` if none with a trial is there."""
    try:
        if not (path.is_file() and _has_trial(path)):
            return None
        first = read(path)[0]
    except (InputError, OSError, ValueError, IndexError):
        return None
    return first if isinstance(first, RunStarted) else None


def _has_trial(path: Path) -> bool:
    before = b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if _TRIAL in before + chunk:
                return True
            before = chunk[-len(_TRIAL) :]
    return False


def _short(digest: str) -> str:
    return f"SHA-256 {digest[:12]}…"
