"""What a person does with a result: commands to copy, and the lines that load the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from precsearch.cli.cells import clean
from precsearch.metrics import named
from precsearch.replay.portable import loading_of
from precsearch.system.shell import argument, command

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from precsearch.api import OptimizeConfig, OptimizeResult
    from precsearch.plan.plan import Plan

__all__ = ["loading", "loading_lines", "next_steps"]


def loading_lines(config: OptimizeConfig, result: OptimizeResult) -> list[Text]:
    """How an application opens what ships, or what ``build`` makes of the plan."""
    if result.plan is None or result.plan_path is None:
        return []
    shipped = result.artifact_path or _buildable(config, result.plan, result.plan_path)
    return loading(loading_of(result.plan.recipe, shipped))


def loading(code: Iterable[str]) -> list[Text]:
    """Lines of Python that open an artifact, under a heading; nothing if there are none."""
    lines = [Text(f"  {clean(line)}", style="cyan") for line in code]
    return [Text(), Text("to load it:", style="bold"), *lines] if lines else []


def _buildable(config: OptimizeConfig, plan: Plan, path: Path) -> Path:
    """Where the command to copy builds what the plan says."""
    kind = "engine" if plan.evidence.engine else "optimized.onnx"
    return path.parent / f"{config.model.stem}.{kind}"


def next_steps(config: OptimizeConfig, result: OptimizeResult) -> list[str]:
    """Commands that make sense now."""
    steps = []
    if result.interrupted:
        steps.append("the same command with --resume goes on where this one stopped")
    if result.plan_path is None:
        return steps
    plan = argument(result.plan_path)
    model = ["--model", argument(config.model)]
    compiled = result.plan is not None and bool(result.plan.evidence.engine)
    shipped = result.artifact_path
    if shipped is None and result.plan is not None:
        shipped = _buildable(config, result.plan, result.plan_path)
        steps.append(command("build", plan, *model, "-o", argument(shipped)))
    source = config.holdout or config.data
    data = ["--data", argument(source)] if source is not None else []
    # Another build of an engine is another engine.
    itself = ["--artifact", argument(shipped)] if compiled and shipped is not None else []
    own = ["--metric", argument(config.metric)] if named(config.metric) is None else []
    steps.append(command("verify", plan, *model, *data, *own, *itself))
    return steps
