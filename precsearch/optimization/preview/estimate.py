"""`optimize --dry-run`: what a search would take, before anything is searched or written."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, replace

from precsearch.backends.auto import backend_name
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Estimates
from precsearch.executors.candidates import measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.measurement.timing.estimate import search_seconds
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.optimization.stages.screen import floats_beside_fp32, priors_of
from precsearch.registry import strategy
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import Target

__all__ = ["DryRun", "dry_run"]

_NOISE = 0.02


@dataclass(frozen=True)
class DryRun:
    """What is known before a search.

    Attributes:
        backend: The one that was chosen.
        groups: Groups in all.
        choices: Groups that may be given each precision below FP32.
        hazards: Groups that rules keep out of FP16, as far as weights and constants tell.
        search_samples, calibration_samples, holdout_samples: How the data is split.
        builds: The least, the likely and the most engines, ``None`` if the strategy cannot say.
        engine_seconds: What building and measuring one takes, ``None`` where that was not tried:
            expensive builds would need minutes for it.
        setup_seconds: What reading, references and the noise floor took here.
        time_budget: Most seconds of a run, as asked.
    """

    backend: str
    groups: int
    choices: dict[str, int]
    hazards: int
    search_samples: int
    calibration_samples: int
    holdout_samples: int
    builds: tuple[int, int, int] | None
    engine_seconds: float | None
    setup_seconds: float = 0.0
    time_budget: float | None = None

    @property
    def seconds(self) -> tuple[float, float] | None:
        """The least and the likely time from the start to the plan.

        The least is without proxies; both hold set-up and confirmation.
        """
        if self.builds is None or self.engine_seconds is None:
            return None
        least, likely, _ = self.builds
        limit = math.inf if self.time_budget is None else self.time_budget
        each, setup = self.engine_seconds, self.setup_seconds
        return (
            min(search_seconds(least - 1, each, setup), limit),
            min(search_seconds(likely - 1, each, setup, 0.0), limit),
        )


def dry_run(config: OptimizeConfig) -> DryRun:
    """Read model and data, group, and estimate. Writes nothing.

    Where engines are cheap to build, FP32's is built and measured once, for its time.

    Raises:
        InputError: Something that the user gave is wrong; the message says what to change.
        EngineError: The FP32 engine fails on this backend.
    """
    start = time.monotonic()
    config = replace(config, backend=backend_name(config.backend))
    chosen = strategy(config.strategy, config.strategy_options)
    target, inputs, _ = open_rewritten(config, read_model(config.model))
    half = Precision.FP16 in floats_beside_fp32(target)
    priors = priors_of(target, None) if half else ()
    problem = Problem(
        target.space,
        Goal(Bound(inputs.bound, inputs.metric.name), _NOISE),
        Budget(config.max_builds, config.time_budget),
        priors,
        config.seed,
    )
    parts = inputs.parts
    took = None if target.facts.builds_are_expensive else _engine_seconds(config, target)
    setup = time.monotonic() - start - (took or 0.0)
    counts = Counter(str(c) for g in target.space.free for c in g.choices[1:])
    return DryRun(
        backend=config.backend,
        groups=len(target.space.groups),
        choices=dict(sorted(counts.items())),
        hazards=len(problem.avoided(Precision.FP16)),
        search_samples=sum(parts.search.sizes),
        calibration_samples=sum(parts.calibration.sizes),
        holdout_samples=sum(parts.holdout.sizes) if parts.holdout is not None else 0,
        builds=chosen.expected_builds(problem) if isinstance(chosen, Estimates) else None,
        engine_seconds=took,
        setup_seconds=setup,
        time_budget=config.time_budget,
    )


def _engine_seconds(config: OptimizeConfig, target: Target) -> float:
    """Wall time of FP32's trial, in a folder that goes away."""
    inputs = open_inputs(config, target.graph)
    plain = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    with worker_here(target.source, target.facts) as first:
        scored = reference_of(target, inputs.parts.search, first)
        lowered = plain.lower(Assignment())
        setup = measurement_config(config, target, lowered, scored, inputs.loads, inputs.shapes)
        worker = first.measuring(setup)
        worker.calibrate_noise()
        # Not the baseline's own trial: its latency is known by now, and would not be timed again.
        twin = replace(setup.baseline, digest="timed like any other engine")
        start = time.monotonic()
        worker.measure_baseline(twin)
        return time.monotonic() - start
