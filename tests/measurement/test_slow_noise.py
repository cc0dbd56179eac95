"""Whole searches on planted engines, whose openings differ: what ships is what should."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from precsearch.backends.fake import (
    Cost,
    FakeBackend,
    FakeLowered,
    FakeSession,
    Landscape,
    fake_lower,
    fake_reference,
)
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.events import Event, TrialFinished
from precsearch.core.precision import Precision
from precsearch.core.problem import Bound, Budget, Goal, Problem
from precsearch.core.space import LayerGroup, SearchSpace
from precsearch.core.trial import Fidelity, Measurement, Trial
from precsearch.data import Dataset
from precsearch.executors.candidates import candidate, rival
from precsearch.measurement.place import Place
from precsearch.measurement.service import (
    Candidate,
    MeasurementConfig,
    MeasurementService,
    ReferenceSplit,
)
from precsearch.measurement.timing.certainty import doubts
from precsearch.measurement.timing.latency import TimingOptions
from precsearch.optimization.stages.select import Choice, confirm, finalists
from precsearch.registry import strategy
from precsearch.search.evaluator import evaluators, sequential
from precsearch.search.loop import search

FP32, INT8 = Precision.FP32, Precision.INT8
FEEDS = tuple({"input": np.full(3, i, np.float32)} for i in range(4))
QUICK = TimingOptions(rounds=12, max_rounds=36, warmup=0, apart_seconds=0.0)


class Slow(FakeBackend):
    """Each opening of an engine is as fast as its own draw; ``often`` are slower, up to 40 %."""

    def __init__(self, landscape: Landscape, often: float, draw: random.Random) -> None:
        super().__init__(BackendOptions(), landscape)
        self._often = often
        self._draw = draw

    def open(self, artifact: bytes, *, profiled: bool = False) -> FakeSession:
        session = super().open(artifact, profiled=profiled)
        factor = self._draw.uniform(1.1, 1.4) if self._draw.random() < self._often else 1.0
        return _Factored(session, factor)  # type: ignore[return-value]


class _Factored:
    def __init__(self, session: FakeSession, factor: float) -> None:
        self._session = session
        self._factor = factor

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [self._factor * s for s in self._session.time(feed, repeats)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class Here(MeasurementService):
    """A worker whose process is this one."""

    def __init__(self, config: MeasurementConfig) -> None:
        super().__init__(Place(), config, lambda _: None)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def planted(seed: int, gain: float) -> tuple[SearchSpace, Landscape]:
    """Six groups; INT8 makes each faster by about ``gain``, and two of them cost too much."""
    draw = random.Random(seed)
    keys = [f"g{i}" for i in range(6)]
    costs = {
        key: {
            FP32: Cost(1e-3),
            INT8: Cost(1e-3 * (1 - gain * draw.uniform(0.7, 1.3)), 2e-2 if i < 2 else 2e-3),
        }
        for i, key in enumerate(keys)
    }
    space = SearchSpace(tuple(LayerGroup(k, "conv", (k,), (FP32, INT8)) for k in keys))
    return space, Landscape(costs, noise=0.003, seed=seed)


def shipped(seed: int, gain: float, often: float) -> tuple[Choice, Landscape]:
    space, landscape = planted(seed, gain)
    lower = fake_lower(space)
    draw = random.Random(seed + 1)

    def cast(lowered: FakeLowered) -> Candidate:
        return candidate(lowered)  # type: ignore[arg-type]

    reference = tuple(fake_reference(f) for f in FEEDS)
    setup = MeasurementConfig(
        backend=lambda _: Slow(landscape, often, draw),
        options=BackendOptions(),
        baseline=cast(lower(space.uniform(FP32))),
        search=ReferenceSplit(Dataset(FEEDS, (1,) * len(FEEDS)), reference),
        metric="rel-l2",
        timing=QUICK,
    )
    worker = Here(setup)
    noise = worker.calibrate_noise()
    problem = Problem(space, Goal(Bound(1e-2), noise), Budget(8), seed=seed)
    trials: list[Trial] = []

    def measure(lowered: FakeLowered, fidelity: Fidelity) -> Measurement:
        known = rival(problem, trials, lowered)  # type: ignore[arg-type]
        return replace(worker.measure(cast(lowered), fidelity, known), group_seconds={})

    evaluate = sequential(evaluators(lower, [measure])[0])
    for event in search(problem, strategy("auto"), evaluate):
        if isinstance(event, TrialFinished):
            trials.append(event.trial)  # noqa: PERF401 - the next trial looks at them
    chosen: list[Choice | None] = []

    def ending() -> Generator[Event, None, None]:
        last = finalists(problem, trials)
        found = yield from confirm(
            problem,
            last,
            lower,  # type: ignore[arg-type]
            worker,  # type: ignore[arg-type]
            lambda: Here(setup.to_time()),  # type: ignore[arg-type,return-value]
            lambda: None,
        )
        chosen.append(found.choice)

    list(ending())
    assert chosen[0] is not None
    return chosen[0], landscape


def true_ratio(choice: Choice, landscape: Landscape) -> float:
    plain = landscape.latency(choice.trial.assignment.with_(dict.fromkeys(landscape.costs, FP32)))
    return landscape.latency(choice.trial.assignment) / plain


def told(make: Callable[[int], tuple[Choice, Landscape]], seeds: range) -> tuple[int, int, int]:
    """How often a plan is slower than FP32, a headline wrong without a doubt, FP32 the answer."""
    slower = wrong = plain = 0
    for seed in seeds:
        choice, landscape = make(seed)
        true = true_ratio(choice, landscape)
        latency = choice.measurement.latency
        assert latency is not None
        slower += true > 1.0 + 1e-9
        plain += not choice.trial.assignment.entries
        sure = bool(choice.trial.assignment.entries) and not doubts(latency)
        wrong += sure and abs(latency.ratio / true - 1) > 0.1
    return slower, wrong, plain


@pytest.mark.parametrize("often", [0.0, 0.15])
def test_an_engine_that_is_twice_as_fast_ships_with_the_right_ratio(often: float) -> None:
    slower, wrong, plain = told(lambda seed: shipped(seed, 0.6, often), range(8))
    assert (slower, plain) == (0, 0)
    assert wrong <= (1 if often else 0), "an odd process in twenty"


@pytest.mark.parametrize("often", [0.0, 0.15])
def test_an_int8_engine_that_is_slower_never_ships(often: float) -> None:
    slower, wrong, plain = told(lambda seed: shipped(seed, -0.05, often), range(8))
    assert slower == 0
    assert wrong == 0
    assert plain == 8
