"""What the searches shipped, timed head to head on the first device; noise beside a build."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

import numpy as np
import onnx

from precsearch.core.backend import Backend, BackendOptions, Feed, Session
from precsearch.registry import backend_factory

ROUNDS, REPEATS = 10, 50
_NOISE_S = 90.0
_WARM_S = 8.0


def first_feed(model: Path) -> Feed:
    """The first batch of the samples beside a model, which has one input of known shape."""
    one = onnx.load(model, load_external_data=False).graph.input[0]
    batch = one.type.tensor_type.shape.dim[0].dim_value or 1
    with np.load(model.with_suffix(".npz")) as file:
        return {one.name: file[one.name][:batch]}


def judge(args: argparse.Namespace) -> None:
    """Time what the searches shipped on the first device, in turns; then noise beside a build."""
    backend = backend_factory(args.backend)(
        BackendOptions(build=dict(o.split("=", 1) for o in args.build_option))
    )
    for model in sorted((args.output / "models").glob("*.onnx")):
        feed = first_feed(model)
        found = sorted(args.output.glob(f"{model.stem}.*{args.suffix}"))
        sessions = {p.name: backend.open(_artifact(backend, p)) for p in found}
        times = defaultdict[str, list[float]](list)
        for _ in range(ROUNDS):
            for name, session in sessions.items():
                times[name].append(median(session.time(feed, REPEATS)) * 1e3)
        for name, values in times.items():
            print(f"| {name} | {median(values):.4f} | {min(values):.4f} | {max(values):.4f} |")
        if sessions and len(args.devices) > 1 and backend.facts.device == "gpu":
            _noise(next(iter(sessions.items())), feed, model, args)
        for session in sessions.values():
            session.close()


def _artifact(backend: Backend, path: Path) -> bytes:
    """An engine from what was shipped, which may be a model."""
    shipped = path.read_bytes()
    return backend.build(shipped) if backend.facts.artifact_is_model else shipped


def _visible(device: str) -> str:
    """A GPU's index as CUDA_VISIBLE_DEVICES of a child takes it: ours renumbers GPUs, if set."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    return device if shown is None else shown.split(",")[int(device)].strip()


def _noise(one: tuple[str, Session], feed: Feed, model: Path, args: argparse.Namespace) -> None:
    """One engine ten times: alone, and while the second device builds its plan again."""
    name, session = one
    plan = args.output / f"{name.removesuffix(args.suffix)}.plan.json"
    again = [sys.executable, "-m", "precsearch", "build", str(plan), "--model", str(model)]
    again += ["-o", str(args.output / f"again{args.suffix}"), "--force"]
    for label, busy in (("alone", False), ("while the other device builds", True)):
        values, builder = list[float](), None
        deadline = time.monotonic() + _NOISE_S
        while len(values) < ROUNDS and time.monotonic() < deadline:
            if busy and (builder is None or builder.poll() is not None):
                env = {**os.environ, "CUDA_VISIBLE_DEVICES": _visible(args.devices[1])}
                builder = subprocess.Popen(again, env=env, stdout=subprocess.DEVNULL)
                time.sleep(8)
            values.append(mean(session.time(feed, 4 * REPEATS)) * 1e3)
        if builder is not None:
            builder.kill()
        spread = (max(values) - min(values)) / median(values)
        print(f"| {name}, {label} | {median(values):.4f} ms | spread {spread:.2%} |")
