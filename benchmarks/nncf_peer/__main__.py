"""precsearch beside NNCF's accuracy control: one engine, one metric and bound, one judge.

    python -m venv peer && peer/bin/pip install nncf openvino onnx
    python -m benchmarks.nncf_peer FOLDER --python peer/bin/python --model NAME … --state rows.jsonl

Both see ``data.npz``. The judge opens FP32, NNCF's model and ours in one process, times them by
turns, and takes errors on ``holdout.npz`` against ONNX Runtime's FP32. NNCF's evaluations are how
often its metric was taken of the whole data; ours are engines, FP32's among them. *As fast after*
is the first engine within the bound that the search timed as fast as the judge timed NNCF's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import precsearch
from precsearch.backends.openvino.runtime import openvino_core
from precsearch.core.backend import Feed
from precsearch.data import load
from precsearch.data.spec import input_specs
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.metrics.distance import relative_l2
from precsearch.reference.session import reference_outputs

QUANTIZE = Path(__file__).with_name("quantize.py")
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
ROUNDS = 40
_GUARD = 1.02
"""The least that a search keeps away from its bound."""


def judged(
    models: Mapping[str, Any], feeds: Sequence[Feed], wanted: Sequence[Feed]
) -> dict[str, tuple[float, float]]:
    """Error on these feeds and milliseconds of each model."""
    found: dict[str, tuple[float, float]] = {}
    requests = {}
    for name, model in models.items():
        request = openvino_core().compile_model(model, "CPU", CONFIG).create_infer_request()
        rows = [[np.array(v) for v in request.infer(dict(f)).values()] for f in feeds]
        errors = [
            relative_l2(
                np.concatenate([np.ravel(r[i]) for r in rows]),
                np.concatenate([np.ravel(w[output]) for w in wanted]),
            )
            for i, output in enumerate(wanted[0])
        ]
        requests[name] = (request, max(errors))
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, (request, _) in requests.items():
            start = time.perf_counter()
            for _ in range(3):
                request.infer(share_outputs=True)
            times[name].append((time.perf_counter() - start) / 3)
    for name, (_, error) in requests.items():
        found[name] = error, statistics.median(times[name]) * 1e3
    return found


def compare(folder: Path, name: str, tol: float, python: str, budget: float) -> dict[str, Any]:
    """One row."""
    model, data = folder / name / "model.onnx", folder / name / "data.npz"
    row: dict[str, Any] = {"model": name, "bound": tol, "day": date.today().isoformat()}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        words = [python, str(QUANTIZE), str(model), str(data), str(place / "n.xml")]
        done = subprocess.run(
            [*words, "--tol", str(tol)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            return {**row, "failed": done.stderr.strip().splitlines()[-1][:200]}
        row["nncf"] = json.loads(done.stdout.strip().splitlines()[-1])
        begun = time.monotonic()
        result = precsearch.optimize(
            model, data, tol=tol, holdout=folder / name / "holdout.npz", backend="openvino",
            threads=1, time_budget=budget, output=place / "p.json", artifact=place / "o.xml",
        )  # fmt: skip
        spent = time.monotonic() - begun
        engines = _engines(result)
        row["ours"] = {"seconds": spent, "engines": len(engines), "curve": engines}
        held = load(folder / name / "holdout.npz", input_specs(prepare(read_model(model)).inputs))
        core = openvino_core()
        plain = core.read_model(model)
        shapes = {port.any_name: port for port in plain.inputs}
        first = held.feeds[0]
        plain.reshape({port: list(first[n].shape) for n, port in shapes.items() if n in first})
        models = {
            "fp32": plain,
            "nncf": core.read_model(place / "n.xml"),
            "ours": core.read_model(place / "o.xml"),
        }
        wanted = reference_outputs(str(model), held.feeds)
        row["judged"] = judged(models, held.feeds, wanted)
    return row


def _engines(result: Any) -> list[tuple[float | None, float | None]]:  # noqa: ANN401
    """Loss and latency relative to FP32's of each engine, in order; of a result or a plan."""
    plan = getattr(result, "plan", result)
    return [(t.loss, t.ratio) for t in plan.evidence.trials if t.fidelity == "engine"]


def as_fast_after(row: Mapping[str, Any]) -> str:
    """The number of the first engine within the bound that is as fast as NNCF's, or ``-``."""
    judged, bound = row["judged"], row["bound"] / _GUARD
    wanted = judged["nncf"][1] / judged["fp32"][1]
    for number, (loss, ratio) in enumerate(row["ours"].get("curve", ()), 1):
        if loss is not None and ratio is not None and loss <= bound and ratio <= wanted:
            return str(number)
    return "-"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Markdown, and the geometric mean of the last two columns' ratio."""
    lines = [
        "| model | bound | NNCF: holdout error, speed, evaluations, s "
        "| precsearch: holdout error, speed, engines (as fast after), s |",
        "|---|---|---|---|",
    ]
    gains: list[float] = []
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['model']} | {row['bound']:g} | {row['failed']} | |")
            continue
        plain = row["judged"]["fp32"][1]
        peer, ours = row["judged"]["nncf"], row["judged"]["ours"]
        gains.append(peer[1] / ours[1])
        lines.append(
            f"| {row['model']} | {row['bound']:g} "
            f"| {peer[0]:.2g}, {plain / peer[1]:.2f}x, {row['nncf']['evaluations']}, "
            f"{row['nncf']['seconds']:.0f} "
            f"| {ours[0]:.2g}, **{plain / ours[1]:.2f}x**, {row['ours']['engines']} "
            f"({as_fast_after(row)}), "
            f"{row['ours']['seconds']:.0f} |"
        )
    mean = float(np.exp(np.mean(np.log(gains)))) if gains else float("nan")
    return [*lines, "", f"Geometric mean over NNCF: {mean:.2f}x in {len(gains)} cases."]


def main() -> None:
    """Measure what was named, then print all rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--python", default="python", help="of the environment that has NNCF")
    parser.add_argument("--model", nargs="*", default=[])
    parser.add_argument("--bound", nargs="*", type=float, default=[1e-2, 3e-2])
    parser.add_argument("--seconds", type=float, default=60.0, help="time budget of our search")
    parser.add_argument("--state", type=Path, required=True)
    args = parser.parse_args()
    for name in args.model:
        for bound in args.bound:
            row = compare(args.folder, name, bound, args.python, args.seconds)
            with args.state.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print("\n".join(table([row])[2:]), flush=True)
    print("\n".join(table([json.loads(x) for x in args.state.read_text().splitlines()])))


if __name__ == "__main__":
    main()
