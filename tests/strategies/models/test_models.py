import math
from dataclasses import replace

import numpy as np
import pytest

from precsearch.core.space import Assignment
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Failed, Fidelity, Measured, Proposal, Trial
from precsearch_strategies.encoding import Encoding, Floats
from precsearch_strategies.history import History
from precsearch_strategies.models.error import ErrorModel
from precsearch_strategies.models.latency import LatencyModel
from precsearch_strategies.models.profile_gains import profile_gains
from precsearch_strategies.models.sensitivity import single_squared_usage
from precsearch_strategies.uniform import uniform_assignments
from tests.strategies.harness import run
from tests.strategies.landscapes import FP16, FP32, INT8, Landscape, Recipe


def engines(landscape: Landscape, many: list[Assignment]) -> History:
    proposals = [Proposal(landscape.space.canonical(a)) for a in many]
    return History(
        landscape.problem,
        [Trial(i, p, landscape.measure(p)) for i, p in enumerate(proposals)],
    )


def drawn(landscape: Landscape, count: int, seed: int = 0) -> list[Assignment]:
    rng = np.random.default_rng(seed)
    free = landscape.space.free
    return [
        Assignment.of({g.key: g.choices[int(rng.integers(len(g.choices)))] for g in free})
        for _ in range(count)
    ]


def squared_usage_of(landscape: Landscape, *, broken: float = 0.0) -> tuple[History, Floats]:
    found: list[tuple[History, Floats]] = []

    class Asks:
        def propose(self, problem: object, /) -> Proposals:
            known = History(landscape.problem)
            yield from known.build(uniform_assignments(landscape.problem), "")
            squared_usage = yield from single_squared_usage(known, Encoding(landscape.space))
            found.append((known, squared_usage))

    class Broken:
        problem, space = landscape.problem, landscape.space

        def measure(self, proposal: Proposal) -> object:
            if proposal.fidelity is Fidelity.PROXY and broken:
                return Failed("run", "error", "no proxy here")
            return landscape.measure(proposal)

    run(Asks(), Broken() if broken else landscape)  # type: ignore[arg-type]
    return found[0]


def test_squared_losses_of_single_groups_are_their_own() -> None:
    landscape = Recipe(groups=9, passive=0.3, skip=0.3).draw(4)
    _, squared_usage = squared_usage_of(landscape)
    target = landscape.problem.goal.bound.tolerance / 1.01
    for i, group in enumerate(landscape.space.free):
        for label, precision in enumerate((FP32, FP16, INT8)):
            own = (landscape.errors[group.key, precision] / target) ** 2
            assert squared_usage[i, label] == pytest.approx(own, rel=0.05, abs=1e-6)


def test_without_proxies_the_uniform_engine_s_error_is_shared() -> None:
    landscape = Recipe(groups=6).draw(1)
    known, squared_usage = squared_usage_of(landscape, broken=1.0)
    usage = known.usage(known.engines[landscape.space.uniform(INT8)])
    assert usage is not None
    assert math.sqrt(squared_usage[:, 2].sum()) == pytest.approx(usage)


def test_gains_add_up_to_the_measured_gain() -> None:
    landscape = Recipe(groups=20, border=0.0).draw(2)
    known = engines(landscape, list(uniform_assignments(landscape.problem)))
    gains = profile_gains(known, Encoding(landscape.space))
    lowered = landscape.space.uniform(INT8)
    assert gains[:, 2].sum() == pytest.approx(1 - landscape.seconds(lowered) / landscape.full)
    true = [
        (landscape.times[g.key, FP32] - landscape.times[g.key, INT8]) / landscape.full
        for g in landscape.space.free
    ]
    assert np.corrcoef(gains[:, 2], true)[0, 1] > 0.9


def test_the_error_model_learns_a_common_factor() -> None:
    landscape = Recipe(groups=10).draw(5)
    known, squared_usage = squared_usage_of(landscape)
    encoding = Encoding(landscape.space)
    halved = ErrorModel.fit(known, encoding, squared_usage * 0.25)
    right = ErrorModel.fit(known, encoding, squared_usage)
    assert right.kappa == pytest.approx(1, abs=0.05)
    assert halved.kappa > 1.5
    many = np.array([encoding.encode(a) for a in drawn(landscape, 20)])
    for model, ratio in ((right, 0.05), (halved, 0.4)):
        predicted = model.predict(many)
        for row, usage in zip(many, predicted.tolist(), strict=True):
            true = landscape.problem.goal.usage(
                landscape.measure(Proposal(encoding.decode(row))).measurement  # type: ignore[union-attr]
            )
            assert abs(math.log(usage / true)) < ratio


def test_the_latency_model_gets_better_and_surer() -> None:
    landscape = Recipe(groups=12, border=0.3, skip=0.3).draw(6)
    encoding = Encoding(landscape.space)
    tests = np.array([encoding.encode(a) for a in drawn(landscape, 40, seed=9)])
    true = np.array([landscape.seconds(encoding.decode(x)) / landscape.full for x in tests])
    wrong, doubt = [], []
    for count in (0, 40):
        asked = [*uniform_assignments(landscape.problem), *drawn(landscape, count)]
        model = LatencyModel.fit(engines(landscape, asked), encoding)
        mean, spread = model.predict(tests)
        wrong.append(float(np.abs(mean - true).mean()))
        doubt.append(float(spread.mean()))
    assert wrong[1] < 0.5 * wrong[0]
    assert wrong[1] < 0.02
    assert doubt[1] < doubt[0]


def test_no_latency_is_predicted_that_lowered_groups_cannot_save() -> None:
    landscape = Recipe(groups=12, border=0.3, skip=0.3).draw(6)
    encoding = Encoding(landscape.space)
    asked = [*uniform_assignments(landscape.problem), *drawn(landscape, 3)]
    known = engines(landscape, asked)
    # A timing that something disturbed: one group alone, and hardly any time at all.
    first = landscape.space.free[0].key
    wrong = landscape.trial(9, Proposal(Assignment.of({first: INT8})))
    assert wrong.measurement is not None
    assert wrong.measurement.latency is not None
    latency = replace(wrong.measurement.latency, ratio=0.05)
    outcome = Measured(replace(wrong.measurement, latency=latency))
    known.engines[wrong.assignment] = replace(wrong, outcome=outcome)
    model = LatencyModel.fit(known, encoding)
    alone = np.zeros((encoding.size[0], encoding.size[0]), dtype=np.intp)
    np.fill_diagonal(alone, 2)
    mean, spread = model.predict(alone)
    least = 1 - model.shares
    assert (mean >= least).all()
    assert (mean - spread >= least - 0.01).all()


def test_the_latency_model_s_costs_are_its_predictions() -> None:
    landscape = Recipe(groups=12, border=0.3, skip=0.3, fixed_neighbours=0.2).draw(7)
    encoding = Encoding(landscape.space)
    asked = [*uniform_assignments(landscape.problem), *drawn(landscape, 10)]
    model = LatencyModel.fit(engines(landscape, asked), encoding)
    time, pair = model.costs(np.abs(model.mean()))
    many = np.array([encoding.encode(a) for a in drawn(landscape, 10, seed=1)])
    n = np.arange(encoding.size[0])
    a, b = encoding.edges[:, 0], encoding.edges[:, 1]
    for x in many:
        total = time[n, x].sum() + pair[np.arange(len(pair)), x[a], x[b]].sum()
        row = model.predict(x[None])[0] - 1 - model.rows[:0].sum()
        assert np.isfinite(row).all()
        assert np.isfinite(total)
