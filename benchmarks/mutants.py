"""Deliberate faults in lowering, plan and goal, one at a time: does a test catch each?

    python -m benchmarks.mutants [docs/mutants.md]

Works on a temporary copy. Only the tests of the part at fault are run. Ends with 1 if one survives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = {
    "lowering": ("tests/lowering/test_scales.py", "tests/lowering/test_random_models.py"),
    "plan": ("tests/plan", "tests/hostile/test_hostile.py"),
    "goal": ("tests/core/test_bounds.py",),
}


@dataclass(frozen=True)
class Mutant:
    """A piece of text in a file, and what it is replaced with."""

    part: str
    path: str
    what: str
    old: str
    new: str


MUTANTS = [
    Mutant("lowering", "lowering/qdq/scales.py", "weights are truncated, not rounded",
           "np.clip(np.rint(weight[b]", "np.clip(np.trunc(weight[b]"),
    Mutant("lowering", "lowering/qdq/scales.py", "the zero point is one off",
           "int(np.rint(-low / scale))", "int(np.rint(-low / scale)) + 1"),
    Mutant("lowering", "lowering/qdq/scales.py", "weights use all of -128 to 127",
           "np.float32(2 ** (bits - 1) - 1)", "np.float32(2 ** (bits - 1))"),
    Mutant("lowering", "lowering/qdq/scales.py", "tied tensors keep the first range",
           "found = found.union(other)", "found = found"),
    Mutant("lowering", "lowering/emitter.py", "a transposed weight is not transposed",
           "np.ascontiguousarray(weight.T)", "np.ascontiguousarray(weight)"),
    Mutant("lowering", "lowering/emitter.py", "the axis of a weight's scales is left out",
           'node.attribute.append(onnx.helper.make_attribute("axis", axis))', "pass"),
    Mutant("lowering", "lowering/emitter.py", "FP16 weights stay FP32",
           "if elem_type != _HALF:\n            self.weights[name]",
           "if True:\n            self.weights[name]"),
    Mutant("plan", "plan/plan.py", "an edited recipe is believed",
           "if (plan.recipe.digest if schema == 1 else plan.digest) != data.get(",
           "if 0 == len("),
    Mutant("plan", "plan/plan.py", "any schema is read",
           "if type(found) is int and OLDEST <= found <= SCHEMA:", "if type(found) is int:"),
    Mutant("plan", "plan/plan.py", "unknown keys are skipped", "if extra:", "if False:"),
    Mutant("plan", "plan/plan.py", "the last of two equal keys wins",
           "if len(found) != len(pairs):", "if False:"),
    Mutant("plan", "replay/materialize.py", "another model is built from",
           "if source.digest != recipe.model_sha256:", "if False:"),
    Mutant("plan", "replay/materialize.py", "other bytes than promised are written",
           "if made.lowered.sha256 != recipe.materialised_sha256:", "if False:"),
    Mutant("plan", "setup/files.py", "an input may be overwritten",
           "if _same(target, other):\n            raise", "if False:\n            raise"),
    Mutant("goal", "core/problem.py", "the guard is left out",
           "return self.tolerance / self.guard", "return self.tolerance"),
    Mutant("goal", "core/problem.py", "the likely upper end of the loss is ignored",
           " and accuracy.upper <= self.bound.tolerance", ""),
    Mutant("goal", "core/problem.py", "NaN is within the bound",
           "return measurement.accuracy.loss <= self.bound.tolerance",
           "return not measurement.accuracy.loss > self.bound.tolerance"),
    Mutant("goal", "core/problem.py", "a tie goes to the less accurate",
           "return a.accuracy.loss < b.accuracy.loss",
           "return a.accuracy.loss > b.accuracy.loss"),
    Mutant("goal", "core/problem.py", "the best is the fastest, noise or not",
           "if row[0] <= fastest * (1 + self.noise)", "if row[0] <= fastest"),
    Mutant("goal", "core/problem.py", "proxies are on the front",
           "if t.proposal.fidelity is Fidelity.ENGINE\n        and (m", "if (m"),
]  # fmt: skip


def caught_by(copy: Path, mutant: Mutant) -> str:
    """The first test that fails; "" if none does."""
    path = copy / "precsearch" / mutant.path
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.what}: {text.count(mutant.old)} places in {mutant.path}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        for tests in PARTS[mutant.part]:
            found = first_failure(copy, tests)
            if found:
                return found
        return ""
    finally:
        path.write_text(text, encoding="utf-8")


def first_failure(copy: Path, tests: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'strategies'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    failed = next((x for x in lines if x.startswith(("FAILED ", "ERROR "))), "")
    if done.returncode == 0:
        return ""
    return failed.split(" ", 1)[1].split(" - ")[0] if failed else "the tests do not start"


def main() -> int:
    rows = ["| part | fault | caught by |", "|---|---|---|"]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("precsearch", "strategies", "tests", "examples"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for tests in (t for part in PARTS.values() for t in part):
            failed = first_failure(copy, tests)
            if failed:
                raise SystemExit(f"without any fault: {failed}")
        for mutant in MUTANTS:
            caught = caught_by(copy, mutant)
            survivors += not caught
            shown = f"`{caught}`" if caught else "**nothing**"
            rows.append(f"| {mutant.part} | {mutant.what} | {shown} |")
            print(rows[-1], flush=True)
    if len(sys.argv) > 1:
        head = f"{len(MUTANTS) - survivors} of {len(MUTANTS)} faults are caught."
        said = f"# Deliberate faults\n\nMade by `python -m benchmarks.mutants`. {head}\n\n"
        Path(sys.argv[1]).write_text(said + "\n".join(rows) + "\n", encoding="utf-8")
    return int(survivors > 0)


if __name__ == "__main__":
    raise SystemExit(main())
