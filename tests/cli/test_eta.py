"""The time that is left, on journals of searches whose clock is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch.cli.progress.view import View, fold
from precsearch.core.events import PlanWritten, SearchStarted, TrialFinished
from precsearch.core.problem import Budget
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity
from precsearch.search.journal import Journal, read
from tests.optimization.stages.test_search_stage import KEYS, World, problem, searched


class Uneven(World):
    """Uniform engines are quick, mixed ones take longer; a proxy takes a twentieth of one."""

    def __init__(self) -> None:
        super().__init__()
        self.proxy = 0.03

    def varied(self, asked: Assignment) -> float:
        return 0.2 if not asked else 0.8 if len(asked) == len(KEYS) else 1.1


def recorded(folder: Path, tolerance: float, builds: int) -> Path:
    """The journal of a search."""
    with Journal.open(folder, {}) as journal:
        searched(problem(tolerance, builds), Uneven(), journal)
    return folder


@pytest.mark.parametrize(("tolerance", "builds"), [(2e-3, 10), (4e-3, 14), (6e-3, 16)])
def test_the_end_that_is_predicted_after_three_engines_moves_by_less_than_a_quarter(
    tolerance: float, builds: int, tmp_path: Path
) -> None:
    view, ends, engines = View(), [], 0
    for event in read(recorded(tmp_path, tolerance, builds)):
        view = fold(view, event)
        if not isinstance(event, TrialFinished):
            continue
        engines += event.trial.proposal.fidelity is Fidelity.ENGINE
        if engines >= 3 and view.seconds_left is not None:
            ends.append(view.elapsed + view.seconds_left)
    assert ends, "a search of three engines"
    assert max(ends) <= 1.25 * ends[0]
    assert view.elapsed <= 1.25 * ends[0], "it did not take longer than that"


def test_a_time_budget_is_what_is_left_at_most(tmp_path: Path) -> None:
    view = View()
    for event in read(recorded(tmp_path, 4e-3, 14)):
        if isinstance(event, SearchStarted):
            started = SearchStarted(
                event.device, "auto", 8, 8, event.bound, Budget(None, 100.0), 0.01
            )
            view = fold(view, started)
        else:
            view = fold(view, event)
        if view.seconds_left is not None:
            assert view.elapsed + view.seconds_left <= max(100.0, view.elapsed)
    assert not any(isinstance(e, PlanWritten) for e in read(tmp_path))
