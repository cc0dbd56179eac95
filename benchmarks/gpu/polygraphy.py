"""Polygraphy's ``debug precision`` on the transformer of `stories vit8`, both directions.

    python benchmarks/gpu/polygraphy.py --generators DIR -o OUT --direction reverse --limit 600

Each step's engine is judged by relative L2 error against ONNX Runtime, as precsearch judges its
own, and timed by precsearch's session.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.core.backend import BackendOptions
from precsearch.reference.session import reference_outputs

TOLERANCE = 1e-2


def loss_and_ms(engine: Path, work: Path) -> tuple[float, float]:
    """Relative L2 error and the median time of an engine."""
    backend = TensorRtBackend(BackendOptions())
    session = backend.open(engine.read_bytes())
    feed = {"x": np.load(work / "x.npy")}
    wanted = np.load(work / "prob.npy").astype(np.float64)
    found = session.run(feed)["prob"].astype(np.float64)
    loss = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
    ms = median(session.time(feed, 200)) * 1e3
    session.close()
    return loss, ms


def check(args: argparse.Namespace) -> None:
    """What Polygraphy runs for every engine: exit code 0 if it is within the tolerance."""
    loss, ms = loss_and_ms(Path("polygraphy_debug.engine"), args.work)
    with (args.work / "steps.jsonl").open("a") as log:
        log.write(json.dumps({"loss": loss, "ms": ms, "at": time.time()}) + "\n")
    passed = np.isfinite(loss) and loss <= TOLERANCE
    sys.exit(0 if passed else 1)


def searched(direction: str, model: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One run of ``debug precision``."""
    steps = args.work / "steps.jsonl"
    steps.unlink(missing_ok=True)
    me = [sys.executable, str(Path(__file__).resolve()), "--work", str(args.work.resolve())]
    command = [
        *(sys.executable, "-c", "from polygraphy.tools import main; main()"),
        *("debug", "precision", str(model.resolve())),
        *("--fp16", "--tf32", "--tactic-sources", "--mode", "bisect", "--dir", direction),
        *("--check", *me, "-o", str(args.output.resolve()), "--as-check"),
    ]
    start = time.monotonic()
    log = args.output / f"polygraphy-{direction}.log"
    cut_off = False
    with log.open("w") as out:
        try:
            subprocess.run(
                command, cwd=args.work, stdout=out, stderr=out, check=False, timeout=args.limit
            )
        except subprocess.TimeoutExpired:
            cut_off = True  # the steps up to here are kept
    wall = time.monotonic() - start
    text = log.read_text()
    rows = [json.loads(line) for line in steps.read_text().splitlines()] if steps.exists() else []
    said = re.findall(r".*(?:try running|Could not find).*", text)
    passing = [r for r in rows if r["loss"] <= TOLERANCE]
    return {
        "direction": direction,
        "wall": wall,
        "cut off": cut_off,
        "builds": len(rows),
        "said": said[-1] if said else text[-300:],
        "last passing": passing[-1] if passing else None,
        "fastest passing": min(passing, key=lambda r: r["ms"]) if passing else None,
        "steps": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generators", type=Path, default=Path())
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs/polygraphy"))
    parser.add_argument("--direction", nargs="+", default=["forward", "reverse"])
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for each direction")
    parser.add_argument("--as-check", action="store_true", help="judge polygraphy_debug.engine")
    parser.add_argument("-o", "--output", type=Path, default=Path())
    args = parser.parse_args()
    if args.as_check:
        check(args)
    sys.path.insert(0, str(args.generators.resolve()))
    args.work.mkdir(parents=True, exist_ok=True)
    args.output.mkdir(parents=True, exist_ok=True)
    model = args.work / "vit8.onnx"
    onnx.save(importlib.import_module("gen_gpu_vit").vit(batch=8, outlier=8000.0), model)
    x = np.random.default_rng(1).standard_normal((8, 196, 768)).astype(np.float32)
    np.save(args.work / "x.npy", x)
    (wanted,) = reference_outputs(str(model), [{"x": x}], "")
    np.save(args.work / "prob.npy", wanted["prob"])
    for direction in args.direction:
        found = searched(direction, model, args)
        (args.output / f"polygraphy-{direction}.json").write_text(json.dumps(found, indent=1))
        print({k: v for k, v in found.items() if k != "steps"}, flush=True)


if __name__ == "__main__":
    main()
