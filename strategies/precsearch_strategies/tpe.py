"""Tree-structured Parzen estimator: Optuna behind the strategy interface."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.core.problem import Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import ReasonedProposals
from precsearch_strategies.ending import ending
from precsearch_strategies.history import History, Subroutine
from precsearch_strategies.models.error import proxy_error
from precsearch_strategies.uniform import uniform_assignments

if TYPE_CHECKING:
    import optuna

__all__ = ["Tpe", "tpe_search"]


@dataclass(frozen=True)
class Tpe:
    """Optuna's TPE over one categorical choice per group (Bergstra et al., NeurIPS 2011).

    The objective is gated: the latency ratio within the bound; beyond it 2 and up, growing with the
    logarithm of the usage, so that every passing engine is better than every failing one. A failed
    build is told to Optuna as failed, without a value.

    Attributes:
        builds: Engines at most, where the budget names no number.
        patience: Engines in a row that may fail to improve before it ends.
        screen: Whether an assignment is scored by proxy first and only built if that passes.
    """

    builds: int = 60
    patience: int = 30
    screen: bool = True

    def __post_init__(self) -> None:
        if min(self.builds, self.patience) < 1:
            raise OptionError("tpe's builds and patience must be at least 1")

    def propose(self, problem: Problem, /) -> ReasonedProposals:
        """FP32 as the gate, the uniform engines, then what TPE suggests."""
        known = History(problem)
        (gate,) = yield from known.build([problem.all_fp32()], "FP32 is the baseline")
        if gate.measurement is None or not problem.goal.admits(gate.measurement):
            return "baseline"
        limit = known.limit(self.builds)
        return (
            yield from tpe_search(known, limit=limit, patience=self.patience, screen=self.screen)
        )


def tpe_search(
    known: History,
    *,
    limit: int,
    patience: int,
    screen: bool = True,
    keys: Sequence[str] | None = None,
    base: Assignment | None = None,
    misses: int = 40,
) -> Subroutine[str]:
    """Search on from what is known.

    Args:
        known: Its engines are the warm start; the uniform ones not in it are enqueued.
        limit: Engines at most, counting the known ones.
        patience: Engines in a row that may fail to improve.
        screen: Whether to build only what its proxy does not rule out.
        keys: Groups to vary, all free ones by default.
        base: The assignment of the others, FP32 by default.
        misses: Suggestions in a row that may be repeats or be ruled out before it ends.

    Returns:
        Why it ended, a key of `precsearch.core.strategy.ENDINGS`.
    """
    space = known.problem.space
    varied = [space.by_key[k] for k in keys] if keys is not None else list(space.free)
    if not varied:
        return "complete"
    choices = {g.key: [c.value for c in g.choices] for g in varied}
    if screen:
        yield from known.probe(uniform_assignments(known.problem)[1:], "how far to believe proxies")
    study = _study(known, choices)
    stale, missed, reference = 0, 0, known.best_ratio()
    while known.builds < limit and stale < patience and missed < misses:
        trial = study.ask(_distributions(choices))
        asked = {k: Precision(v) for k, v in trial.params.items()}
        assignment = space.canonical((base or Assignment()).with_(asked))
        if known.excludes(assignment):
            _tell(study, trial, None, None)
            missed += 1
            continue
        fresh = assignment not in known.engines
        beyond = (yield from _ruled_out(known, assignment)) if fresh and screen else None
        if beyond is not None:
            study.tell(trial, _gated(1.0, beyond))
            missed += 1
            continue
        (engine,) = yield from known.build([assignment], "TPE")
        _tell(study, trial, known.ratio(engine), known.usage(engine))
        missed = 0 if fresh else missed + 1
        stale += fresh
        if known.best_ratio() < reference * (1 - known.problem.goal.tie):
            stale, reference = 0, known.best_ratio()
    return ending(known) or ("limit" if known.builds >= limit else "patience")


def _ruled_out(known: History, assignment: Assignment) -> Subroutine[float | None]:
    """The usage to expect of an engine that its proxy, corrected, rules out; ``None`` if not."""
    (proxy,) = yield from known.probe([assignment], "TPE, screened")
    usage, (bias, spread) = known.usage(proxy), proxy_error(known)
    if usage is None or usage * math.exp(bias - spread) <= 1:
        return None
    return max(usage * math.exp(bias), 1.0 + 1e-9)


def _gated(ratio: float, usage: float) -> float:
    return ratio if usage <= 1 else 2.0 + math.log(min(usage, 1e6))


def _tell(
    study: optuna.Study, trial: optuna.Trial, ratio: float | None, usage: float | None
) -> None:
    import optuna

    if ratio is None or usage is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, _gated(ratio, usage))


def _distributions(
    choices: dict[str, list[str]],
) -> dict[str, optuna.distributions.BaseDistribution]:
    import optuna

    return {k: optuna.distributions.CategoricalDistribution(v) for k, v in choices.items()}


def _study(known: History, choices: dict[str, list[str]]) -> optuna.Study:
    """A seeded study that holds the known engines and has the other uniform ones in its queue."""
    # Optuna takes a third of a second to import, and only a search that gets here needs it.
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=known.problem.seed, n_startup_trials=5)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    optuna.logging.set_verbosity(level)
    distributions = _distributions(choices)
    for assignment in sorted(known.engines, key=lambda a: a.entries):
        engine = known.engines[assignment]
        ratio, usage = known.ratio(engine), known.usage(engine)
        if ratio is None or usage is None:
            continue
        params = {k: assignment[k].value for k in choices}
        value = _gated(ratio, usage)
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=value)
        )
    for assignment in uniform_assignments(known.problem):
        if assignment not in known.engines:
            study.enqueue_trial({k: assignment[k].value for k in choices})
    return study
