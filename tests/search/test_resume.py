"""A search that was cut, stopped or given a larger budget continues as if it had never ended."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precsearch.backends.fake import fake_lower
from precsearch.core.events import SearchFinished, TrialFinished
from precsearch.core.trial import Fidelity, Outcome, Proposal, Trial
from precsearch.search.evaluator import Evaluate, Steps
from precsearch.search.journal import NAME, read
from precsearch.search.loop import search
from tests.search.loop_toys import (
    Climb,
    finish,
    in_process,
    journaled,
    timeless,
    toy_landscape,
    toy_problem,
    toy_space,
)

SPACE = toy_space(4)


def evaluating(seed: int, workers: int = 1) -> Evaluate:
    delays = random.Random(seed) if workers > 1 else None
    return in_process(SPACE, toy_landscape(SPACE, seed), workers, delays=delays)


@pytest.fixture(scope="module")
def complete() -> Iterator[Path]:
    """The run directory of a search that was never interrupted."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        journaled(run_dir, toy_problem(SPACE), lambda _: evaluating(3))
        yield run_dir


def uninterrupted(seed: int) -> list[Trial]:
    return timeless(finish(search(toy_problem(SPACE), Climb(), evaluating(seed)))[1])


@given(st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_a_journal_cut_anywhere_resumes_as_if_never_cut(complete: Path, where: float) -> None:
    whole = (complete / NAME).read_bytes()
    cut = int(where * len(whole))
    kept = whole[:cut].count(b'"type":"TrialFinished"}\n')
    measured: list[Proposal] = []

    def counting(known: Mapping[str, Outcome]) -> Evaluate:
        inner = evaluating(3)

        def evaluate(proposals: Sequence[Proposal]) -> Steps:
            measured.extend(proposals)
            return inner(proposals)

        return evaluate

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / NAME).write_bytes(whole[:cut])
        trials = journaled(Path(folder), toy_problem(SPACE), counting, resume=True)
        assert trials is not None
        assert timeless(trials) == uninterrupted(3)
        assert len(measured) == len(trials) - kept
        again = [e.trial for e in read(folder) if isinstance(e, TrialFinished)]
        assert timeless(sorted(again, key=lambda t: t.number)) == uninterrupted(3)


@given(st.integers(0, 50), st.lists(st.integers(0, 12), max_size=3), st.integers(1, 4))
@settings(max_examples=12, deadline=None)
def test_a_run_resumed_with_other_workers_ends_as_if_never_stopped(
    seed: int, stops: list[int], workers: int
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        for i, stop_after in enumerate(stops):
            journaled(
                folder,
                toy_problem(SPACE),
                lambda _, count=1 + (workers + i) % 4: evaluating(seed, count),  # type: ignore[misc]
                resume=True,
                stop_after=stop_after,
            )
        trials = journaled(
            folder, toy_problem(SPACE), lambda _: evaluating(seed, workers), resume=True
        )
        assert trials is not None
        assert timeless(trials) == uninterrupted(seed)
    finally:
        shutil.rmtree(folder)


def test_equal_engines_of_an_earlier_run_are_shared(run_dir: Path) -> None:
    lower = fake_lower(SPACE, inert=frozenset({"g0"}))
    landscape = toy_landscape(SPACE)

    def run(stop_after: int | None, resume: bool) -> tuple[Trial, ...] | None:
        return journaled(
            run_dir,
            toy_problem(SPACE),
            lambda known: in_process(SPACE, landscape, known=known, lower=lower),
            resume=resume,
            stop_after=stop_after,
        )

    run(4, False)
    resumed = run(None, True)
    _, direct = finish(
        search(toy_problem(SPACE), Climb(), in_process(SPACE, landscape, lower=lower))
    )
    assert resumed is not None
    assert timeless(resumed) == timeless(direct)
    engines = [t for t in direct if t.proposal.fidelity is Fidelity.ENGINE]
    assert len({t.model_digest for t in engines}) < len(engines)


def test_a_resume_may_raise_the_budget(run_dir: Path) -> None:
    journaled(run_dir, toy_problem(SPACE, builds=3), lambda _: evaluating(3))
    assert isinstance(read(run_dir)[-1], SearchFinished)
    trials = journaled(run_dir, toy_problem(SPACE), lambda _: evaluating(3), resume=True)
    assert trials is not None
    assert timeless(trials) == uninterrupted(3)
