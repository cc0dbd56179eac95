"""A precision that precsearch has never heard of, from the search to the page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.command import HOLDOUT, LIMIT_S, MODEL, environment, few_samples
from tests.plugin import make_known

SCRIPT = """
import sys, precsearch
from precsearch.core.precision import Precision
before = len(list(Precision))
result = precsearch.optimize(
    sys.argv[1], data=sys.argv[2], tol=0.1, strategy="auto", threads=1, max_builds=4,
    output="p.json", backend="fp12",
)
low = Precision("fp12")
asked = [g.key for g in result.plan.recipe.groups if g.precision is low]
assert asked, "nothing runs in fp12"
ran = {g.key: g.achieved for g in result.plan.evidence.groups}
assert {ran[key] for key in asked} == {low}, ran
assert any("fp12" in t.counts for t in result.plan.evidence.trials)
plan = precsearch.read_plan("p.json")
assert plan == result.plan
made = precsearch.build("p.json", sys.argv[1], "fast.onnx")
assert made.verdict == "identical", made
report = precsearch.verify("p.json", sys.argv[1], sys.argv[3])
assert report.loss <= 0.1 and report.passed, report.lines
assert len(list(Precision)) == before, "the enumeration itself is as it was"
"""


def test_a_plug_in_brings_a_precision_of_its_own(tmp_path: Path) -> None:
    module = "tests.e2e.plugins.fp12_backend"
    backend, row = {"fp12": f"{module}:Backend12"}, {"fp12": f"{module}:FP12"}
    make_known(tmp_path, "twelve", backend, precisions=row)
    known = environment()
    known["PYTHONPATH"] += os.pathsep + str(tmp_path)
    data = few_samples(tmp_path / "few.npz", 32)
    held = few_samples(tmp_path / "held.npz", 32, HOLDOUT)

    def run(*args: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, args)],
            input=text,
            cwd=tmp_path,
            env=known,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    done = run("-", MODEL, data, held, text=SCRIPT)
    assert done.returncode == 0, done.stderr
    page = run("-m", "precsearch.cli.main", "report", "p.json", "-o", "report.html")
    assert page.returncode == 0, page.stderr
    html = (tmp_path / "report.html").read_text("utf-8")
    assert '<span class="precision fp12">fp12</span>' in html
    assert ".precision.fp12 { background: #8a4b9e; }" in html
