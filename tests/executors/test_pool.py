"""Whole searches on the fake backend through clients and channels, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from precsearch.backends.fake import FakeBackend, Landscape, fake_lower, fake_reference
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import WorkerMissing
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Failed, Proposal, Trial, hardness
from precsearch.data import Dataset
from precsearch.executors.candidates import candidate, rival
from precsearch.executors.client import MeasurementClient, connect
from precsearch.executors.pool import Pool
from precsearch.measurement.config import MeasurementConfig, ReferenceSplit
from precsearch.measurement.latency import TimingOptions
from precsearch.registry import strategy
from precsearch.search.loop import search
from tests.executors.here import Here, HereExecutor
from tests.search.loop_toys import INT8, finish, toy_landscape, toy_space

FEEDS = tuple({"input": np.full(3, i, np.float32)} for i in range(4))
QUICK = TimingOptions(rounds=4, max_rounds=8, warmup=0, apart_seconds=0.0)
SPACE = toy_space(6)
LANDSCAPE = replace(toy_landscape(SPACE, 3), noise=0.0)
"""Without noise, so that what is measured does not depend on what was measured before it."""


def backend_of(landscape: Landscape) -> Any:
    return lambda options: FakeBackend(options, landscape)


def config_of(landscape: Landscape = LANDSCAPE) -> MeasurementConfig:
    baseline: Any = fake_lower(SPACE)(Assignment())
    reference = tuple(fake_reference(f) for f in FEEDS)
    return MeasurementConfig(
        backend=backend_of(landscape),
        options=BackendOptions(),
        baseline=candidate(baseline),
        search=ReferenceSplit(Dataset(FEEDS, (1,) * len(FEEDS)), reference),
        metric="rel-l2",
        noise=0.01,
        timing=QUICK,
    )


def searched(
    executor: HereExecutor,
    workers: int,
    chosen: Any = None,
    config: MeasurementConfig | None = None,
) -> tuple[Trial, ...]:
    config = config or config_of()
    problem = Problem(SPACE, Goal(Bound(1e-2), 0.01), Budget(12), seed=4)
    lower: Any = fake_lower(SPACE)
    trials: list[Trial] = []
    pool = Pool(
        executor,
        config,
        workers,
        60.0,
        lambda lowered: rival(problem, trials, lowered),
        None,
        lambda: hardness(trials),
    )
    first = connect(executor, executor.devices()[0], config)
    with first, pool.evaluating(first, lower, {}) as evaluate:
        _, found = finish(search(problem, chosen or strategy("auto"), evaluate))
    return found


def shown(trials: Sequence[Trial]) -> list[object]:
    """Without wall times."""
    rows: list[object] = []
    for t in trials:
        m = t.measurement
        assert m is not None, t.outcome
        rows.append(
            (t.number, t.proposal, m.accuracy, m.latency and m.latency.ratio, t.model_digest)
        )
    return rows


def test_the_fake_backend_gives_one_plan_for_one_and_four_workers() -> None:
    one, four = HereExecutor(), HereExecutor()
    assert shown(searched(one, 1)) == shown(searched(four, 4))
    assert (len(one.opened), len(four.opened)) == (1, 4)
    assert all("measure" in c.called for c in four.opened[:2]), "several were at work"


class Two:
    """Proposes two engines, one after the other."""

    def propose(self, problem: Problem, /) -> Proposals:
        yield [Proposal(Assignment.of({"g0": INT8}))]
        yield [Proposal(Assignment.of({"g1": INT8}))]


def test_a_restart_after_a_crash_does_not_make_the_next_trial_failed() -> None:
    executor = HereExecutor()
    opened = executor.open

    def dying(*args: Any, **more: Any) -> Any:
        channel = opened(*args, **more)
        assert isinstance(channel, Here)
        channel.deaths += ["measure", "warm_up"]  # the engine kills it, and so does its first start
        return channel

    executor.open = dying  # type: ignore[method-assign]
    first, second = searched(executor, 1, Two())
    assert isinstance(first.outcome, Failed)
    assert (first.outcome.stage, first.outcome.kind) == ("time", "crash")
    assert second.measurement is not None
    assert executor.opened[0].starts == 3


def test_a_worker_that_never_starts_again_ends_the_search() -> None:
    executor = HereExecutor()
    opened = executor.open

    def dying(*args: Any, **more: Any) -> Any:
        channel = opened(*args, **more)
        assert isinstance(channel, Here)
        channel.deaths += ["measure", "warm_up", "warm_up", "warm_up"]
        return channel

    executor.open = dying  # type: ignore[method-assign]
    with pytest.raises(WorkerMissing, match="device cpu does not start again: the worker died"):
        searched(executor, 1, Two())


def test_a_client_is_ready_when_connect_returns() -> None:
    executor = HereExecutor()
    with connect(executor, executor.devices()[0], config_of()) as client:
        assert isinstance(client, MeasurementClient)
        assert client.ready
        assert executor.opened[0].starts == 1
    assert executor.opened[0].closed


def test_a_config_holds_no_path_of_one_machine() -> None:
    for options in (BackendOptions(model_folder="/models"), BackendOptions(cache="/run/cache")):
        with pytest.raises(ValueError, match="no path"):
            replace(config_of(), options=options)


def test_a_service_that_times_alone_needs_one_sample() -> None:
    config = config_of()
    assert len(config.to_time().search.data) == 1
    assert config.to_time().timed == config.timed
