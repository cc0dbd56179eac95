"""Whole searches on the fake backend through clients and channels, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from precsearch.backends.fake import FakeBackend, Landscape, fake_lower, fake_reference
from precsearch.core.backend import BackendOptions, Fingerprint
from precsearch.core.device import DeviceSpec
from precsearch.core.errors import OptionError, WorkerMissing
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Failed, Fidelity, Proposal, Trial, hardness
from precsearch.data import Dataset
from precsearch.executors.candidates import candidate, rival
from precsearch.executors.client import MeasurementClient
from precsearch.executors.connect import connect
from precsearch.executors.fleet import assembled
from precsearch.executors.pool import Pool
from precsearch.measurement.config import MeasurementConfig, ReferenceSplit
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementService
from precsearch.measurement.timing.latency import TimingOptions
from precsearch.registry import strategy
from precsearch.search.evaluator import Evaluate, Steps
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


said: list[str] = []
"""What is said of the devices of the last search."""


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
    first = connect(executor, executor.devices()[0], config)
    where = first.fingerprint()
    with first, assembled(executor, first, config, where, 60.0) as fleet:
        said[:] = fleet.notes
        pool = Pool(
            executor,
            fleet,
            config,
            workers,
            60.0,
            lambda lowered: rival(problem, trials, lowered),
            None,
            lambda: hardness(trials),
            lambda error: said.append(str(error)),
        )
        with pool.evaluating(lower, {}) as evaluate:
            steps = timeless_steps(evaluate)
            _, found = finish(search(problem, chosen or strategy("auto"), steps))
    return found


def timeless_steps(evaluate: Evaluate) -> Evaluate:
    """Without the wall time of trials, by which `auto` decides how many proxies are worth while."""

    def steps(proposals: Sequence[Proposal]) -> Steps:
        with closing(evaluate(proposals)) as inner:
            more: Sequence[Proposal] | None = None
            while True:
                try:
                    position, found = inner.send(more)
                except StopIteration:
                    return
                timeless = None if found is None else replace(found, seconds=0.0)
                more = yield position, timeless

    return steps


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
    paths = {"model_folder": "/models", "cache": "/run/cache", "scratch": "/run/engines"}
    for name, path in paths.items():
        options = replace(BackendOptions(), **{name: path})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="no path"):
            replace(config_of(), options=options)


def test_a_service_that_only_times_needs_one_sample() -> None:
    config = config_of()
    assert len(config.to_time().search.data) == 1
    assert config.to_time().timed == config.timed


PAIR = (DeviceSpec(cores=(0,)), DeviceSpec(index=1, cores=(1,)))


def slower(landscape: Landscape, factor: float) -> Landscape:
    costs = {
        key: {p: replace(c, seconds=factor * c.seconds) for p, c in row.items()}
        for key, row in landscape.costs.items()
    }
    return replace(landscape, costs=costs, boundary=factor * landscape.boundary)


class Elsewhere(FakeBackend):
    """Another device."""

    def fingerprint(self) -> Fingerprint:
        return replace(super().fingerprint(), device="another device")


def pair(second: Any) -> HereExecutor:
    """Two devices, the other one with its own backend."""

    def by(device: DeviceSpec) -> Any:
        def make(place: Place, config: MeasurementConfig, announce: Any) -> MeasurementService:
            backend = second if device.index else config.backend
            return MeasurementService(place, replace(config, backend=backend), announce)

        return make

    return HereExecutor(PAIR, by)


def names(trials: Sequence[Trial], fidelity: Fidelity = Fidelity.ENGINE) -> set[str]:
    return {t.device for t in trials if t.proposal.fidelity is fidelity}


class Batch:
    """Proposes every single INT8 group at once."""

    def propose(self, problem: Problem, /) -> Proposals:
        yield [Proposal(Assignment.of({g.key: INT8})) for g in problem.space.free if not g.passive]


def test_devices_of_one_kind_time_what_they_build_and_the_plan_is_the_same() -> None:
    one, two = HereExecutor(), pair(backend_of(LANDSCAPE))
    assert shown(searched(one, 1)) == shown(found := searched(two, 1))
    assert said == []
    assert names(found) <= {"cpu:0", "cpu:1"}
    batch = searched(two, 1, Batch())
    assert names(batch) == {"cpu:0", "cpu:1"}
    assert {c.device.name for c in two.opened if "measure" in c.called} == {"cpu:0", "cpu:1"}


def test_engines_of_a_slower_device_are_timed_on_the_home_device() -> None:
    one, two = HereExecutor(), pair(backend_of(slower(LANDSCAPE, 1.3)))
    alone, together = searched(one, 1, Batch()), searched(two, 1, Batch())
    assert "engines are built on every device and timed on cpu:0 alone" in said[0]
    assert shown(alone) == shown(together)
    assert names(together) == {"cpu:0"}
    home, other = two.opened
    assert {"check", "measure"} <= {*home.called, *other.called}
    assert "measure" not in other.called
    assert "check" in other.called


def test_a_device_of_another_kind_is_refused_in_a_sentence() -> None:
    with pytest.raises(OptionError, match="device cpu:1 is another device, and the home device"):
        searched(pair(lambda options: Elsewhere(options, LANDSCAPE)), 1, Batch())


def test_a_device_that_is_lost_costs_no_trial() -> None:
    executor = pair(backend_of(LANDSCAPE))
    opened = executor.open

    def failing(*args: Any, **more: Any) -> Any:
        channel = opened(*args, **more)
        assert isinstance(channel, Here)
        if channel.device.index:
            channel.lost_at = "measure"
        return channel

    executor.open = failing  # type: ignore[method-assign]
    found = searched(executor, 1, Batch())
    assert said == ["its node is gone"]
    assert names(found) == {"cpu:0"}
    assert shown(found) == shown(searched(HereExecutor(), 1, Batch()))
