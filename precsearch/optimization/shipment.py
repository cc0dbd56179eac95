"""What a run hands over: the engine, the plan and the artifact."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from precsearch.core.errors import EngineError, WorkerError
from precsearch.core.events import Event
from precsearch.executors.candidates import candidate
from precsearch.executors.client import MeasurementClient
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.measurement.build_service import Engine
from precsearch.optimization.ending import beyond_limits, summary, written
from precsearch.optimization.finished import keep_plan, write_plan
from precsearch.optimization.stages.corrected import shipped_target
from precsearch.optimization.stages.search import INTERRUPTED, Rounds
from precsearch.optimization.stages.select import Choice
from precsearch.optimization.write_plan import Finish, make_plan
from precsearch.replay.artifact import is_engine, write_artifact
from precsearch.setup.config import OptimizeConfig, OptimizeResult
from precsearch.setup.inputs import Inputs
from precsearch.setup.outputs import Outputs
from precsearch.setup.target import Target
from precsearch.system.interrupts import heard, shielded

__all__ = ["Shipment", "chosen_engine"]

_NOT_AGAIN = "interrupted: the chosen engine was not built again"


def chosen_engine(
    target: Target,
    lowering: Lowering,
    rounds: Rounds,
    choice: Choice,
    worker: MeasurementClient,
) -> tuple[Engine | None, list[str]]:
    """The chosen engine, where it is more than its model, and what is to be said of it."""
    if target.facts.artifact_is_model:
        return None, []
    if rounds.stopped == INTERRUPTED:  # the worker is gone, and to build takes minutes
        return None, [_NOT_AGAIN]
    try:
        return worker.engine(candidate(lowering.lower(choice.trial.assignment))), []
    except KeyboardInterrupt:
        heard()
        return None, [_NOT_AGAIN]
    except (EngineError, WorkerError) as error:
        return None, [f"the chosen engine could not be opened again ({error})"]


@dataclass(frozen=True)
class Shipment:
    """What is written at the end of a run.

    Attributes:
        config: What the user asked for.
        target: The model and its backend.
        inputs: Its data.
        outputs: Where plan and artifact go.
    """

    config: OptimizeConfig
    target: Target
    inputs: Inputs
    outputs: Outputs

    def artifact(self, engine: Engine | None) -> Path | None:
        """Where the artifact goes; nowhere, if it is an engine that there is not."""
        path = self.config.artifact
        missing = path is not None and engine is None and is_engine(self.target, path)
        return None if missing else path

    def written(
        self, rounds: Rounds, lowered: Lowered, finish: Finish
    ) -> Generator[Event, None, OptimizeResult]:
        """Write plan and artifact; nothing, if no engine is within the limits.

        Args:
            rounds: The search.
            lowered: The chosen engine's model.
            finish: How the search ended.

        Raises:
            OutputError: One cannot be written.
        """
        config, choice, engine = self.config, finish.choice, finish.engine
        if choice.broken:
            return beyond_limits(rounds, choice)
        target = shipped_target(self.target, choice.trial.assignment)
        plan = make_plan(config, rounds.problem, target, self.inputs, lowered, finish)
        result = OptimizeResult(
            plan,
            config.plan_path,
            self.artifact(engine),
            met=not choice.looks or any(look.passed for look in choice.looks),
            interrupted=rounds.stopped == INTERRUPTED,
            summary=summary(rounds, self.target, self.inputs.metric, choice),
        )
        with shielded():
            keep_plan(config, self.outputs, result)
            write_plan(config, self.outputs, plan)
            if result.artifact_path is not None:
                put = self.outputs.write
                shaped = replace(self.target.options, shapes=plan.recipe.shapes)
                target = replace(self.target, options=shaped)
                write_artifact(target, result.artifact_path, lowered, engine, put)
        with suppress(KeyboardInterrupt):  # too late: all is written
            yield written(config.plan_path, plan, choice)
        return result
