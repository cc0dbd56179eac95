"""Which file is the model of a plan."""

from __future__ import annotations

from pathlib import Path

from precsearch.core.errors import PlanError

__all__ = ["model_beside"]


def model_beside(plan: Path, model: Path | None) -> Path:
    """The model that was named, or ``<stem>.onnx`` beside the plan.

    Raises:
        PlanError: None was named, and there is none.
    """
    if model is not None:
        return model
    stem = plan.name.removesuffix(".json").removesuffix(".plan")
    guess = plan.parent / f"{stem}.onnx"
    if not guess.is_file():
        raise PlanError(f"name the model with --model: there is no {guess.name!r} beside the plan")
    return guess
