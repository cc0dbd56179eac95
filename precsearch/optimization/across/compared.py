"""What the FP32 engines and the plans of several backends take beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from precsearch.core.space import Assignment
from precsearch.executors.open import open_executor
from precsearch.measurement.timing.shared_timing import (
    SharedEngine,
    SharedTiming,
    open_shared_timing,
)
from precsearch.optimization.across.entrant import Entrant
from precsearch.replay.materialize import materialize
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import open_inputs

__all__ = ["EngineTimes", "compared", "recorded"]

_LIMIT_S = 1800.0


@dataclass(frozen=True)
class EngineTimes:
    """Seconds of one inference.

    Attributes:
        fp32: Of the FP32 engine, by backend.
        plan: Of the plan's engine, by backend.
        together: Whether all were timed in the same rounds.
    """

    fp32: Mapping[str, float]
    plan: Mapping[str, float]
    together: bool

    @property
    def fastest(self) -> float:
        """Of the fastest FP32 engine."""
        return min(self.fp32.values())


def recorded(entrants: Sequence[Entrant]) -> EngineTimes:
    """What each search measured, at different times and in different processes."""
    plans = {e.backend: e.result.plan for e in entrants if e.result is not None}
    by_engine = {name: plan.evidence for name, plan in plans.items() if plan is not None}
    return EngineTimes(
        {name: evidence.baseline.seconds for name, evidence in by_engine.items()},
        {name: evidence.latency.seconds for name, evidence in by_engine.items()},
        together=False,
    )


def compared(config: OptimizeConfig, entrants: Sequence[Entrant]) -> EngineTimes:
    """All of it measured in the same rounds, in one process.

    Raises:
        ReplayError: A plan does not give its model again.
        EngineError: An engine does not build or run.
        WorkerError: The process crashed or took too long.
    """
    known = recorded(entrants)
    plain: dict[str, SharedEngine] = {}
    planned: dict[str, SharedEngine] = {}
    for one in entrants:
        assert one.result is not None
        assert one.result.plan is not None
        materialized = materialize(one.result.plan, config.model, None)
        target = materialized.target
        options = replace(target.options, model_folder="", cache="")
        lowered = materialized.lowering.lower(Assignment())
        plain[one.backend] = SharedEngine(target.factory, options, lowered.model)
        planned[one.backend] = SharedEngine(target.factory, options, materialized.lowered.model)
    loads = open_inputs(config, target.graph).loads
    reference = min(known.fp32, key=lambda name: (known.fp32[name], name))
    names = sorted(planned)
    engines = [*(plain[n] for n in names), *(planned[n] for n in names)]
    with (
        open_executor(target.source, target.facts) as executor,
        executor.open(executor.devices()[0], open_shared_timing, loads, limit_s=_LIMIT_S) as worker,
    ):
        latencies = worker.call(SharedTiming.measure, engines, plain[reference])
    seconds = [latency.ratio for latency in latencies]
    count = len(names)
    return EngineTimes(
        dict(zip(names, seconds[:count], strict=True)),
        dict(zip(names, seconds[count:], strict=True)),
        together=True,
    )
