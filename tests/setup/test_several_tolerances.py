"""Several tolerances: a run each, named after its tolerance, knowing what those before measured."""

from pathlib import Path

import pytest

from precsearch.cli.options import control
from precsearch.core.errors import OptionError
from precsearch.setup.bounds import per_bound
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.tolerances import Tolerances


def test_one_tolerance_changes_no_name() -> None:
    config = OptimizeConfig(Path("m.onnx"), tol=1e-2)
    assert per_bound(config, [("rel-l2", Tolerances.parse("3e-2"))]) == (
        OptimizeConfig(Path("m.onnx"), tol=3e-2),
    )


def test_the_tightest_comes_first_and_the_others_know_its_run() -> None:
    config = OptimizeConfig(Path("m.onnx"), warm_start=(Path("old.precsearch"),))
    found = per_bound(config, [("rel-l2", Tolerances.parse("1e-1, 5e-3,1e-2"))])
    assert [c.tol for c in found] == [5e-3, 1e-2, 1e-1]
    assert [c.plan_path.name for c in found] == [
        "m.tol5e-3.plan.json",
        "m.tol1e-2.plan.json",
        "m.tol1e-1.plan.json",
    ]
    assert [p.name for p in found[2].warm_start] == [
        "old.precsearch",
        "m.tol5e-3.precsearch",
        "m.tol1e-2.precsearch",
    ]


def test_files_that_the_user_names_are_named_after_the_tolerance_too() -> None:
    config = OptimizeConfig(
        Path("m.onnx"), output=Path("out/a.json"), artifact=Path("b.onnx"), run_dir=Path("runs")
    )
    found = per_bound(config, [("rel-l2", Tolerances.parse("1e-2,3e-2"))])
    assert [str(c.plan_path) for c in found] == ["out/a.tol1e-2.json", "out/a.tol3e-2.json"]
    assert [str(c.artifact) for c in found] == ["b.tol1e-2.onnx", "b.tol3e-2.onnx"]
    assert [c.run_path for c in found] == [Path("runs/tol1e-2"), Path("runs/tol3e-2")]


def test_each_metric_has_its_bounds_and_scores_for_the_others() -> None:
    wanted = control.bounds([Tolerances.parse("1e-2,3e-2"), 0.05], ["rel-l2", "my/loss.py:far_off"])
    found = per_bound(OptimizeConfig(Path("m.onnx")), wanted)
    assert [(c.metric, c.tol) for c in found] == [
        ("rel-l2", 0.01),
        ("rel-l2", 0.03),
        ("my/loss.py:far_off", 0.05),
    ]
    assert [c.plan_path.name for c in found] == [
        "m.rel-l2.tol1e-2.plan.json",
        "m.rel-l2.tol3e-2.plan.json",
        "m.far_off.tol0.05.plan.json",
    ]
    assert [c.other_metrics for c in found] == [
        *[("my/loss.py:far_off",)] * 2,
        ("rel-l2",),
    ]
    assert [len(c.warm_start) for c in found] == [0, 1, 2]


def test_one_bound_is_for_all_metrics() -> None:
    wanted = control.bounds([0.01], ["rel-l2", "cosine"])
    assert [(m, t.values) for m, t in wanted] == [("rel-l2", (0.01,)), ("cosine", (0.01,))]
    with pytest.raises(OptionError, match="one for each in the same order"):
        control.bounds([0.01, 0.02], ["a", "b", "c"])
    with pytest.raises(OptionError, match="names a metric twice"):
        per_bound(OptimizeConfig(Path("m.onnx")), control.bounds([0.01, 0.02], ["cosine"] * 2))


@pytest.mark.parametrize("text", ["", "x", "1e-2,", "nan", "1e-2,inf", "1e-2;3e-2"])
def test_a_bound_that_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="--tol takes a number such as 1e-2, or several"):
        Tolerances.parse(text)


def test_one_tolerance_in_two_spellings_is_refused() -> None:
    with pytest.raises(OptionError, match="twice"):
        Tolerances.parse("1e-2,0.01")
