import pytest

from precsearch.core.space import Assignment
from precsearch.core.trial import Failed, Fidelity, Outcome, Proposal, Trial
from precsearch_strategies import Auto
from precsearch_strategies.encoding import Encoding
from precsearch_strategies.history import History
from precsearch_strategies.models.build_risk import build_risk
from tests.strategies.harness import run
from tests.strategies.landscapes import FP32, INT8, Recipe


@pytest.mark.parametrize(
    ("asked", "suspect"),
    [
        ([("g0000", "g0001", "g0002"), ("g0000",)], [0, 1 / 3, 1 / 3]),
        # Without g0001 the first one ran, and a second one failed with it: that is certain.
        ([("g0000", "g0001"), ("g0000",), ("g0001", "g0002")], [0, 1, 0]),
    ],
)
def test_a_choice_that_ran_once_is_no_build_risk(
    asked: list[tuple[str, ...]], suspect: list[float]
) -> None:
    landscape = Recipe(groups=3, precisions=(FP32, INT8), passive=0.0).draw(0)
    broken = Failed("build", "error", "no")
    trials = []
    for number, keys in enumerate(asked):
        proposal = Proposal(Assignment.of(dict.fromkeys(keys, INT8)))
        outcome = landscape.measure(proposal) if number == 1 else broken
        trials.append(Trial(number, proposal, outcome))
    found = build_risk(History(landscape.problem, trials), Encoding(landscape.space))
    assert found[:, 1].tolist() == pytest.approx(suspect)
    assert found[:, 0].tolist() == [0, 0, 0]


def test_auto_works_around_a_group_that_never_builds() -> None:
    """The uniform engine fails too, so there is no profile of INT8 at the start."""
    landscape = Recipe(groups=9, precisions=(FP32, INT8), tolerance=0.8).draw(3)

    class Broken(type(landscape)):  # type: ignore[misc]
        def measure(self, proposal: Proposal) -> Outcome:
            engine = proposal.fidelity is Fidelity.ENGINE
            if engine and proposal.assignment["g0004"] is INT8:
                return Failed("build", "error", "no implementation")
            outcome: Outcome = super().measure(proposal)
            return outcome

    broken = Broken(**{k: getattr(landscape, k) for k in landscape.__dataclass_fields__})
    found = run(Auto(), broken)
    assert found.best is not None
    assert len(found.best.assignment) >= 4
    assert found.ratio <= broken.optimum * 1.03
