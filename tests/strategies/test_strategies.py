"""What every strategy must do on every landscape."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.core.errors import OptionError
from precsearch.core.space import Assignment
from precsearch.core.strategy import Strategy
from precsearch.core.trial import Fidelity
from precsearch_strategies import Auto, Bisection, Tpe, Uniform
from tests.strategies.harness import Found, run
from tests.strategies.landscapes import FP32, INT8, Landscape, Recipe

ALL: list[Strategy] = [
    Uniform(),
    Bisection(),
    Bisection(rank="graph"),
    Bisection(rank="macs"),
    Tpe(builds=12),
    Auto(builds=16),
]
NAMES = ["uniform", "bisection", "bisection-graph", "bisection-macs", "tpe", "auto"]
HARD = Recipe(
    groups=9, passive=0.25, slow=0.2, border=0.25, skip=0.3, fixed_neighbours=0.1, pairs=3, paths=1,
    error_noise=0.1, time_noise=0.01, fails=0.05, avoid=0.2,
)  # fmt: skip

every = pytest.mark.parametrize("strategy", ALL, ids=NAMES)


def story(found: Found) -> list[tuple[Assignment, Fidelity]]:
    return [(t.assignment, t.proposal.fidelity) for t in found.trials]


@every
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_strategy_finds_a_passing_engine_on_a_monotone_model(
    strategy: Strategy, seed: int
) -> None:
    landscape = Recipe(groups=6, passive=0.2, border=0.2, skip=0.3).draw(seed)
    assert run(strategy, landscape).best is not None


@every
@pytest.mark.parametrize("seed", range(4))
def test_every_strategy_copes_with_all_difficulties_and_is_repeatable(
    strategy: Strategy, seed: int
) -> None:
    first, second = (run(strategy, HARD.draw(seed)) for _ in range(2))
    assert first.best is not None
    assert story(first) == story(second)
    assert first.trials[0].assignment == Assignment()


@every
def test_no_strategy_proposes_a_trial_twice(strategy: Strategy) -> None:
    landscape = HARD.draw(11)
    seen = set()
    proposals = strategy.propose(landscape.problem)
    batch, number = next(proposals), 0
    answers = run(strategy, landscape).trials
    memory = {(t.assignment, t.proposal.fidelity): t for t in answers}
    try:
        while True:
            for p in batch:
                key = (landscape.space.canonical(p.assignment), p.fidelity)
                assert key not in seen
                seen.add(key)
                number += 1
            keys = [(landscape.space.canonical(p.assignment), p.fidelity) for p in batch]
            batch = proposals.send([memory[k] for k in keys])
    except StopIteration:
        assert number == len(answers)


@every
def test_every_strategy_stops_at_the_baseline_if_fp32_is_beyond_the_tolerance(
    strategy: Strategy,
) -> None:
    landscape = Recipe(groups=5).draw(0)
    wrong = replace(landscape, base_error=2 * landscape.problem.goal.bound.tolerance)
    assert len(run(strategy, wrong).trials) == 1


@every
def test_every_strategy_copes_with_a_model_without_choices(strategy: Strategy) -> None:
    assert len(run(strategy, Recipe(groups=4, fixed_neighbours=1.1).draw(0)).trials) == 1


@every
def test_every_strategy_copes_when_no_lowered_engine_builds(strategy: Strategy) -> None:
    found = run(strategy, Recipe(groups=6, fails=1.0).draw(0))
    assert found.best is not None
    assert found.best.assignment == Assignment()


@every
def test_every_strategy_copes_with_a_tolerance_of_zero(strategy: Strategy) -> None:
    found = run(strategy, Recipe(groups=5, tolerance=0.0).draw(0))
    assert found.best is not None
    assert found.best.assignment == Assignment()


@every
def test_every_strategy_keeps_the_budget(strategy: Strategy) -> None:
    found = run(strategy, Recipe(groups=8, max_builds=5).draw(1))
    assert len(found.engines) <= 5
    assert found.best is not None


@every
def test_every_strategy_works_with_one_lower_precision(strategy: Strategy) -> None:
    found = run(strategy, Recipe(groups=8, precisions=(FP32, INT8)).draw(3))
    assert found.best is not None


_SCRIPT = """
import sys
sys.path[:0] = {path!r}
from tests.strategies.harness import run
from tests.strategies.landscapes import Recipe
from precsearch_strategies import Auto, Bisection, Tpe
landscape = Recipe(groups=8, passive=0.2, skip=0.3, pairs=2, fails=0.05).draw(5)
for strategy in (Auto(builds=12), Bisection(), Tpe(builds=10)):
    print([t.assignment.digest for t in run(strategy, landscape).trials])
"""


def test_no_strategy_depends_on_the_hash_seed() -> None:
    here = Path(__file__).parent
    path = [str(here), str(here.parents[1]), str(here.parents[1] / "strategies")]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(path=path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_importing_the_package_loads_no_optuna() -> None:
    here = Path(__file__).parents[2]
    code = (
        f"import sys; sys.path[:0] = {[str(here), str(here / 'strategies')]!r}\n"
        "import precsearch_strategies\n"
        "assert 'optuna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bisection(rank="alphabet"),
        lambda: Bisection(builds=0),
        lambda: Auto(patience=0),
        lambda: Tpe(builds=0),
    ],
)
def test_invalid_options_of_a_strategy_are_refused(make: "type[Strategy]") -> None:
    with pytest.raises(OptionError):
        make()


@every
def test_every_shipped_strategy_is_a_strategy(strategy: Strategy) -> None:
    assert isinstance(strategy, Strategy)


def test_a_landscape_measures_the_same_twice() -> None:
    landscapes: list[Landscape] = [HARD.draw(2), HARD.draw(2)]
    found = [run(Uniform(), x).trials for x in landscapes]
    assert found[0] == found[1]
