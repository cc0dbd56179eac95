"""Small models and scripts that met a fault, through the command line: right, before, now.

    python -m benchmarks.cases CASES --command precsearch -o now.json
    python -m benchmarks.cases CASES --command OTHER/precsearch -o before.json
    python -m benchmarks.cases CASES --table before.json now.json > docs/benchmarks/cases.md

CASES holds ``NN_name.py OUT``, which write a model and its data, and ``rNN_name.py``, which judge
themselves (0 is right). Each case has a check here: what it looks for in the output, and what was
seen. Speeds are compared with the plain form of the same model, searched right after it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """What a command ended with."""

    exit: int
    text: str

    @property
    def speed(self) -> float:
        """FP32's time over the plan's by the headline, 1 where there is none."""
        found = re.search(r"([0-9.]+)x FP32's speed|([0-9.]+)x the speed of FP32", self.text)
        return float(found[1] or found[2]) if found else 1.0


@dataclass(frozen=True)
class Bench:
    """Runs the commands of one case in its folder."""

    cases: Path
    command: str
    folder: Path

    def make(self, name: str, *, plain: bool = False) -> Path:
        """The case's model and data, in its plain form on request."""
        out = self.folder / (f"{name}.plain" if plain else name)
        env = {**os.environ, **({"PLAIN": "1"} if plain else {})}
        script = str(self.cases / f"{name}.py")
        subprocess.run([sys.executable, script, str(out)], env=env, check=True, capture_output=True)
        return out

    def run(self, verb: str, model: Path, *words: str) -> Seen:
        """One command of precsearch, with the model's own data unless it is named."""
        data = () if "--data" in words else ("--data", str(model / "data.npz"))
        asked = [self.command, verb, str(model / "model.onnx"), *data, *words]
        done = subprocess.run(
            asked, capture_output=True, text=True, cwd=self.folder, timeout=300, check=False
        )
        text = " ".join((done.stdout + done.stderr).split())
        return Seen(done.returncode, text)

    def optimize(self, model: Path, tol: str, *words: str) -> Seen:
        """A search as the cases' README runs it."""
        held = () if "--holdout" in words else ("--holdout", str(model / "holdout.npz"))
        limits = () if "--max-builds" in words else ("--max-builds", "6")
        plan = model / f"{tol}.json"
        given = ("--tol", tol, "--threads", "1", "-o", str(plan), "--force", *held, *limits)
        return self.run("optimize", model, *given, *words)


Check = Callable[[Bench, str], tuple[bool, str]]


def as_plain(tol: str) -> Check:
    """The hidden form must reach the plain form's speed."""

    def check(bench: Bench, name: str) -> tuple[bool, str]:
        speed = bench.optimize(bench.make(name), tol).speed
        plain = bench.optimize(bench.make(name, plain=True), tol).speed
        return speed >= 0.9 * plain, f"{speed:.2f}x, plain form {plain:.2f}x"

    return check


def at_least(tol: str, least: float) -> Check:
    """A search that must find some speed."""

    def check(bench: Bench, name: str) -> tuple[bool, str]:
        seen = bench.optimize(bench.make(name), tol)
        return seen.exit == 0 and seen.speed >= least, f"exit {seen.exit}, {seen.speed:.2f}x"

    return check


def says(verb: str, words: Sequence[str], pattern: str, never: str = "(?!)") -> Check:
    """A command that must say one thing and must not say another."""

    def check(bench: Bench, name: str) -> tuple[bool, str]:
        model = bench.make(name)
        act = bench.optimize if verb == "optimize" else None
        seen = act(model, *words) if act else bench.run(verb, model, *words)
        found, wrong = re.search(pattern, seen.text), re.search(never, seen.text)
        told = wrong or found
        shown = f"'{told[0][:110]}'" if told else "not said"
        return bool(found) and not wrong and seen.exit in (0, 3), f"exit {seen.exit}, {shown}"

    return check


def wider(bench: Bench, name: str) -> tuple[bool, str]:
    """A wider bound must not be slower, and no tighter bound is recommended."""
    model = bench.make(name)
    tight, wide = bench.optimize(model, "5e-3"), bench.optimize(model, "5e-2")
    bought = re.search(r"[Aa] bound of ([0-9.e-]+)", wide.text)
    nonsense = bought is not None and float(bought[1]) <= 5e-2
    right = wide.speed >= 0.95 * tight.speed and not nonsense
    return right, f"{tight.speed:.2f}x at 5e-3, {wide.speed:.2f}x at 5e-2" + (
        f"; advises a bound of {bought[1]}" if nonsense and bought else ""
    )


def sizes(bench: Bench, name: str) -> tuple[bool, str]:
    """An output whose size depends on data has its own verdict; diagnose runs."""
    model = bench.make(name)
    seen = bench.optimize(model, "3e-2")
    verdict = re.search(r"[^.;]*\b(?:\d+ rows for \d+|number of rows|shape)[^.;]*", seen.text)
    looked = bench.run("diagnose", model, "--precision", "int8")
    shown = f"'{verdict[0].strip()[:90]}'" if verdict else "no verdict on sizes"
    right = verdict is not None and looked.exit == 0
    return right, f"{shown}; diagnose exit {looked.exit}"


def caches(bench: Bench, name: str) -> tuple[bool, str]:
    """Growing caches: one note, and the search runs."""
    model = bench.make(name)
    words = ("--data", str(model / "data"), "--holdout", str(model / "holdout"))
    seen = bench.optimize(model, "3e-2", *words)
    notes = len(re.findall(r"warning: [^\[]*different shapes", seen.text))
    return seen.exit == 0 and notes == 1, f"exit {seen.exit}, {seen.speed:.2f}x, notes: {notes}"


def itself(bench: Bench, script: Path) -> tuple[bool, str]:
    """A script that judges itself with the ``precsearch`` on PATH."""
    folder = Path(bench.command).resolve().parent
    env = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            text=True,
            env=env,
            timeout=400,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, "hangs"
    lines = done.stdout.strip().splitlines()
    return done.returncode == 0, (lines[-1] if lines else f"exit {done.returncode}")[:110]


def refused(bench: Bench, name: str) -> tuple[bool, str]:
    """A build after the weights changed must be refused; docs/replay.md says with which status."""
    _, seen = itself(bench, bench.cases / f"{name}.py")
    return "build 4" in seen, seen


SCHEMA_2 = {
    'p["evidence"]': 'p["criteria"]',  # what a plan is judged by is elsewhere
    'Path("model.plan.json").unlink(missing_ok=True)': (
        '[Path(f"model.{n}.json").unlink(missing_ok=True) for n in ("plan", "evidence")]'
    ),
}
"""What scripts that were written for plans of schema 1 say, and what it is now."""


def edited(bench: Bench, name: str) -> tuple[bool, str]:
    """A script that judges itself, brought up to plans of schema 2."""
    text = (bench.cases / f"{name}.py").read_text()
    for before, now in SCHEMA_2.items():
        text = text.replace(before, now)
    (bench.folder / "rel_common.py").write_bytes((bench.cases / "rel_common.py").read_bytes())
    script = bench.folder / f"{name}.py"
    script.write_text(text)
    return itself(bench, script)


CHECKS: dict[str, tuple[str, Check]] = {
    "02_convtranspose": (
        "left out with a reason, or right",
        says("inspect", (), r"ConvTranspose[^.;]{0,80}(?:no|not|never|only)[^.;]*"),
    ),
    "04b_yolo_raw_head": (
        "a lost part of an output is told",
        says(
            "optimize",
            ("1e-2", "--strategy", "uniform"),
            r"entries [^;]{0,60} of output 'y' are lost",
        ),
    ),
    "05_uint8_image": ("2.3x", at_least("5e-2", 1.9)),
    "07_instance_norm": (
        "inspect names the hazard",
        says("inspect", (), r"inside of InstanceNormalization[^;]{0,80}65504", "no FP16 hazard"),
    ),
    "09_grid_sample": (
        "inspect names the coordinates",
        says("inspect", (), r"moves where GridSample [^;]{0,80} of a pixel", "no FP16 hazard"),
    ),
    "12_inf_mask_input": ("infinities are data", at_least("3e-2", 0.0)),
    "13_masked_row_nan": (
        "NaN is called NaN",
        says("optimize", ("3e-2",), r"[^.;]*NaN[^.;]*", "infinite values"),
    ),
    "14_kv_cache": ("one note; runs", caches),
    "16_nms_inside": ("a verdict on sizes; diagnose runs", sizes),
    "17_hidden_weights": ("as the plain form", as_plain("5e-2")),
    "18_einsum": ("as the plain form", as_plain("3e-2")),
    "20_detr_topk": (
        "the output that misses is named",
        says("optimize", ("5e-2",), r"outputs? '(?:boxes|labels|scores)'[^;]{0,60}"),
    ),
    "21_qat_partial": ("the author's Q/DQ stay", at_least("3e-2", 2.5)),
    "23_unet_block": ("MACs by the data's shapes", says("inspect", (), r"2\.36\s?M", r"9\.22k")),
    "26_loop_decoder": ("wider is not slower", wider),
    "29_identity_bias": ("as the plain form", as_plain("3e-2")),
    "31_merged_decoder": (
        "layers inside If are named",
        says("optimize", ("3e-2",), r"\d+ layers? [^;]{0,40} inside of If[^;]{0,40}"),
    ),
    "32_local_functions": ("as the plain form", as_plain("3e-2")),
    "r06_function_digest": ("build refuses, with exit code 4", refused),
    "r07_evidence_edited": ("the script's own check, for schema 2", edited),
    "r25_pipe_and_term": ("the script's own check, for schema 2", edited),
}


def run(args: argparse.Namespace) -> dict[str, tuple[bool, str]]:
    """Every case that is asked for."""
    found: dict[str, tuple[bool, str]] = {}
    scripts = sorted(args.cases.glob("r[0-9]*.py"))
    names = [*CHECKS, *(s.stem for s in scripts if s.stem not in CHECKS)]
    for name in args.only or names:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(args.cases, args.command, Path(folder))
            script = args.cases / f"{name}.py"
            try:
                check = CHECKS.get(name)
                found[name] = check[1](bench, name) if check else itself(bench, script)
            except subprocess.TimeoutExpired:
                found[name] = False, "hangs"
        print(name, *found[name], flush=True, file=sys.stderr)
    return found


def table(before: dict[str, tuple[bool, str]], now: dict[str, tuple[bool, str]]) -> str:
    """Markdown."""
    lines = ["| case | right is | 0.1.0 | now |", "|---|---|---|---|"]
    for name, (right, seen) in now.items():
        wanted = CHECKS[name][0] if name in CHECKS else "the script's own check"
        was = before.get(name)
        old = "-" if was is None else f"{'right' if was[0] else '**wrong**'}: {was[1]}"
        new = f"{'right' if right else '**wrong**'}: {seen}"
        cells = (name, wanted, old, new)
        row = " | ".join(re.sub(r'"/\S*/', '"', c.replace(" | ", " / ")) for c in cells)
        lines.append(f"| {row} |".replace("\n", " "))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", type=Path)
    parser.add_argument("--command", default="precsearch")
    parser.add_argument("--only", action="append")
    parser.add_argument("--table", nargs=2, type=Path, metavar=("BEFORE", "NOW"))
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    if args.table:
        before, now = (json.loads(p.read_text()) for p in args.table)
        print(table(before, now))
        return
    args.cases = args.cases.resolve()
    found = run(args)
    if args.output:
        args.output.write_text(json.dumps(found, indent=1))
    print(f"{sum(right for right, _ in found.values())} of {len(found)} right")


if __name__ == "__main__":
    main()
