"""Answers of the command: nothing found, refusals, and JSON for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from precsearch.core.space import Assignment
from precsearch.plan.plan import read_plan
from tests.e2e.command import DATA, FEW, HOLDOUT, MODEL, called, few_samples, run
from tests.e2e.plugins.clocked_backend import install

QUICK = ("--threads", "1", "--max-builds", "3", "--no-corrections")


def test_fp16_is_refused_with_the_reason(tmp_path: Path) -> None:
    done = called("optimize", MODEL, "--data", DATA, "--precisions", "fp32,fp16,int8", cwd=tmp_path)
    assert done.returncode == 2
    assert "does not truly run fp16" in done.stderr
    assert "FP16 graphs, for one, it computes in FP32 and drops the casts" in done.stderr
    assert "leave it out of --precisions" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--backend", "nothing"), "there is no backend 'nothing'; use one of"),
        (("--strategy", "nothing"), "there is no strategy 'nothing'; use one of auto"),
        (("--metric", "nothing"), "nothing"),
        (("--granularity", "nothing"), "granularity"),
        (("--calibration-method", "nothing"), "nothing"),
        (("--tol", "nan"), "nan"),
        (("--tol", "-1"), "-1"),
        (("--max-builds", "0"), "0"),
        (("--batch", "0"), "0"),
        (("--data", "nothing.npz"), "nothing.npz"),
        (("--data", HOLDOUT, "--input-shape", "image:1x3x32x32"), "image"),
        (("-o", "nowhere/p.json"), "the folder 'nowhere' does not exist"),
        (("--resume", "--force"), "drop --resume or --force"),
    ],
)
def test_wrong_options_are_one_sentence_before_any_work(
    args: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = called("optimize", MODEL, *args, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_where_no_int8_group_fits_fp32_is_the_answer_and_why(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz")
    args = ("--tol", "1e-5", "--threads", "1", "--max-builds", "4", "--backend", "clocked")
    env = install(tmp_path)
    done = run("optimize", MODEL, "--data", data, *args, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "FP32 is the fastest within" in done.stdout
    assert "FP32 is the answer: the cheapest group to lower (" in done.stdout
    said = " ".join(done.stdout.split())
    assert "which is over the bound" in said
    assert re.search(r"A bound of 0\.0\d+ would buy \d\.\d\dx the speed, as measured", said)
    assert "no other candidate is expected to gain anything that matters" in said or (
        "% or more, by models that" in said
    )
    plan = read_plan(tmp_path / "model.plan.json")
    assert plan.recipe.assignment == Assignment()
    assert plan.evidence.latency.ratio == 1.0
    assert plan.recipe.scales == ()
    line = ("build", "model.plan.json", "--model", MODEL, "-o", "out.onnx")
    done = run(*line, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr


def test_where_int8_is_slower_fp32_is_the_answer_and_no_wider_bound_would_help(
    tmp_path: Path,
) -> None:
    data = few_samples(tmp_path / "few.npz")
    env = install(tmp_path, slower=True)
    args = ("--tol", "0.5", "--backend", "clocked", *QUICK)
    done = run("optimize", MODEL, "--data", data, *args, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "nothing faster than FP32 found within" in said, "three engines are no proof"
    assert "No faster engine within the bound was found in 2 engines" in said
    assert "cut short by --max-builds. FP32 is the best so far, not the answer" in said
    assert "would buy" not in said
    plan = read_plan(tmp_path / "model.plan.json")
    assert plan.recipe.assignment == Assignment()
    assert all(t.ratio > 1 for t in plan.evidence.trials if t.ratio and t.counts)


def test_a_reference_that_fp32_misses_ends_the_run(tmp_path: Path) -> None:
    wrong = np.random.default_rng(0).normal(size=(FEW, 10)).astype(np.float32)
    data = few_samples(tmp_path / "few.npz", __ref__logits=wrong)
    done = run("optimize", MODEL, "--data", data, *QUICK, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "nothing within" in done.stdout
    said = " ".join(done.stdout.split())
    assert "the FP32 engine itself is off by" in said
    assert "nothing was searched" in said
    assert "engine 0" not in done.stderr
    assert not (tmp_path / "model.plan.json").exists()


def test_a_reference_of_the_users_own_is_used(tmp_path: Path) -> None:
    from precsearch.reference.session import reference_outputs

    with np.load(DATA) as loaded:
        feeds = [{"image": loaded["image"][i : i + 1]} for i in range(FEW)]
    outputs = reference_outputs(str(MODEL), feeds)
    right = np.concatenate([np.asarray(o["logits"]) for o in outputs])
    data = few_samples(tmp_path / "few.npz", __ref__logits=right * np.float32(1.001))
    given = ("--data", data, "--tol", "0.1", "--backend", "clocked", *QUICK)
    done = run("optimize", MODEL, *given, cwd=tmp_path, env=install(tmp_path))
    assert done.returncode == 0, done.stderr
    gate = next(line for line in done.stderr.splitlines() if "engine 0" in line)
    assert "loss 0.000999 " in gate or "loss 0.001 " in gate, gate


def test_a_bound_that_is_missed_on_the_holdout_ends_with_fp32_and_a_warning(tmp_path: Path) -> None:
    """A holdout of noise that FP32 answers exactly and INT8 does not."""
    data = few_samples(tmp_path / "few.npz")
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 30, (16, 1, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "hold.npz", image=noise)
    given = ("--data", data, "--holdout", tmp_path / "hold.npz", "--backend", "clocked")
    args = ("--strategy", "uniform", "--tol", "0.2", "--threads", "1")
    done = run("optimize", MODEL, *given, *args, cwd=tmp_path, env=install(tmp_path))
    assert done.returncode == 0, done.stderr
    plan = read_plan(tmp_path / "model.plan.json")
    looks = plan.evidence.finalists
    assert [look.passed for look in looks] == [False] * (len(looks) - 1) + [True]
    assert len(looks) > 1, "INT8 is faster, so that it is looked at first"
    assert plan.recipe.assignment == Assignment()
    assert plan.evidence.holdout is not None
    assert plan.evidence.holdout.loss <= 0.2
    said = " ".join(done.stdout.split())
    assert "FP32 is the fastest engine that was found within the bound on the search" in said
    assert "missed it on the holdout" in said
    assert "FP32 is the answer" not in said


def test_json_lines_are_strict_json_and_nothing_else(tmp_path: Path) -> None:
    data = few_samples(tmp_path / "few.npz")
    args = ("--tol", "0.1", "--strategy", "uniform", "--threads", "1", "--json")
    given = ("--data", data, "--backend", "clocked", *args)
    done = run("optimize", MODEL, *given, cwd=tmp_path, env=install(tmp_path))
    assert done.returncode == 0, done.stderr

    def strict(text: str) -> float:
        raise AssertionError(f"{text} is not JSON")

    rows = [json.loads(line, parse_constant=strict) for line in done.stdout.splitlines()]
    kinds = [row["type"] for row in rows]
    assert kinds[0] == "RunStarted"
    assert kinds[-2:] == ["PlanWritten", "Result"]
    assert kinds.count("TrialFinished") == kinds.count("TrialStarted")
    assert kinds.index("SearchStarted") < kinds.index("TrialFinished")
    journal = (tmp_path / "model.precsearch/journal.jsonl").read_text().splitlines()
    assert done.stdout.splitlines()[:-1] == journal
    plan = read_plan(tmp_path / "model.plan.json")
    assert rows[-1]["digest"] == plan.digest
    assert rows[-1]["exit"] == 0
    front = [t for t in plan.evidence.trials if t.pareto]
    assert [t["number"] for t in rows[-1]["pareto"]] == [t.number for t in front] != []
    told = re.findall(r"^\| (`.*?) \|", _last_line(), re.MULTILINE)
    documented = {name for cell in told for name in re.findall(r"`(\w+)`", cell)}
    assert documented == set(rows[-1]) - {"type"}


def _last_line() -> str:
    """The part of the page on ``--json`` about the line that ends it."""
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text()
    return page.partition("## The last line")[2].partition("\n## ")[0]


def test_without_data_there_is_a_warning(tmp_path: Path) -> None:
    args = ("--strategy", "uniform", "--tol", "1", "--max-builds", "1", "--threads", "1")
    done = run("optimize", MODEL, *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: no --data was given" in done.stderr
    assert "no --data was given" in done.stdout
    assert read_plan(tmp_path / "model.plan.json").criteria.data["random"] is True
