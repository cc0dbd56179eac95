"""Groups asked for FP32 that ran in less are reported: by search, plan, report and `verify`."""

from __future__ import annotations

from pathlib import Path

import pytest

from precsearch import api
from precsearch.core.backend import KernelTime
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.measurement.profiling import achieved_precisions
from precsearch.optimization.explanation.demoted import demoted
from precsearch.report import run_page, tell
from tests.e2e.plugins.demoting_backend import here
from tests.hostile.situations.world import write_world

FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8
OWNERS = {"a": "first", "b": "second", "c": "second"}
KERNELS = [KernelTime(("a",), "Conv", 1e-6, INT8)]


def test_every_command_names_fp32_groups_that_ran_in_lower_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_world(tmp_path)
    here(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    made = api.optimize(
        *("model.onnx", "data.npz"),
        tol=1.0,
        backend="demoting",
        exclude=["op:MatMul"],
        max_builds=4,
        threads=1,
        output="demoted.plan.json",
    )
    (kept,) = (g for g in made.plan.evidence.groups if g.achieved is FP16)
    assert made.plan.recipe.assignment[kept.key] is FP32
    (said,) = (w for w in made.plan.evidence.warnings if "less than the fp32" in w)
    assert f"runs 1 group in less than the fp32 that was asked for: {kept.key!r} in fp16" in said
    others = [g.achieved for g in made.plan.evidence.groups if g is not kept]
    assert set(others) == {INT8}
    page = run_page(tell([Path("demoted.precsearch")]))
    assert "1 group did not run as asked" in page
    assert said.partition(":")[0] in page
    verified = api.verify("demoted.plan.json", "model.onnx", "data.npz", tol=1.0)
    (line,) = (one for one in verified.lines if "as the plan asks" in one)
    assert line.endswith(f"{kept.key!r}: asked fp32, runs fp16")


@pytest.mark.parametrize(
    ("told", "achieved"),
    [
        ({}, {"first": INT8}),
        ({"b": FP32, "c": FP32}, {"first": INT8}),
        ({"b": FP32, "c": FP16}, {"first": INT8, "second": FP16}),
        ({"b": None}, {"first": INT8}),
        ({"a": FP16, "b": INT8, "c": FP16}, {"first": FP16, "second": INT8}),
        ({"a": None}, {}),
    ],
)
def test_the_precision_of_products_overrides_the_profile(
    told: dict[str, Precision | None], achieved: dict[str, Precision]
) -> None:
    assert achieved_precisions(KERNELS, {"a": INT8}, OWNERS, told=told) == achieved


def test_groups_that_ran_as_asked_or_were_asked_for_less_are_not_called_demoted() -> None:
    chosen = Assignment.of({"first": INT8})
    assert demoted(chosen, {"first": FP16, "second": FP32}) == ()
    (line,) = demoted(chosen, dict.fromkeys("abcde", FP16))
    assert "runs 5 groups in less than the fp32" in line
    assert "'c' in fp16 and 2 more; fp32 protects nothing there" in line
