"""Every path of the backend ``onnxruntime-cuda`` once, in 90 seconds on a GPU.

    python -m benchmarks.gpu.ort_cuda_smoke [--carry .carry] [-o OUT]

Needs the folder that `benchmarks.gpu.carry` fills. Prints a line a check and each exception with
its traceback; OUT (or $OUT) gets everything. ``--stand-in`` runs it on the CPU provider, to try the
script itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu.judging import searched
from benchmarks.gpu.ort_engines import STRICT, TF32, Prepared, config_of, measured, prepared
from benchmarks.gpu.ort_models import STORIES
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import PrecsearchError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.measurement.timing.latency import TimingOptions
from precsearch.registry import backend_factory

QUICK = TimingOptions(rounds=20, round_seconds=0.01, warmup=5, seconds=3.0)
CLOCKS = {
    "events, graph": {"clock": "events", "enable_cuda_graph": "true"},
    "events, no graph": {"clock": "events", "enable_cuda_graph": "false"},
    "host, graph": {"clock": "host", "enable_cuda_graph": "true"},
    "host, no graph": {"clock": "host", "enable_cuda_graph": "false"},
}


@dataclass
class Smoke:
    """What the checks share."""

    backend: str
    carry: Path
    work: Path
    output: Path
    small: bool
    rows: dict[str, Any] = field(default_factory=dict)
    ready: dict[str, Prepared] = field(default_factory=dict)

    def model(self, name: str) -> Prepared:
        """A model, read once."""
        if name not in self.ready:
            story = STORIES[name](self.carry, self.work)
            every = (Precision.FP32, Precision.FP16, Precision.BF16)
            self.ready[name] = prepared(config_of(story, self.backend, self.work), every)
        return self.ready[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The models that are looked at."""
        return ("resnet20",) if self.small else ("vit", "minilm")


def environment(smoke: Smoke) -> str:
    """Versions, device, modes of FP32."""
    import onnxruntime as ort

    made = backend_factory(smoke.backend)(BackendOptions())
    where = made.fingerprint()
    smoke.rows["fingerprint"] = {**where.versions, "device": where.device}
    modes = [m.name for m in getattr(made, "fp32_modes", tuple)()]
    return f"{ort.get_available_providers()} {where.versions} {where.device}, FP32 is {modes}"


def clocks(smoke: Smoke) -> str:
    """How steady each clock is, with and without a graph: ten medians of one FP16 engine."""
    lines = []
    for name in smoke.names:
        ready = smoke.model(name)
        model = ready.lowered(ready.uniform(Precision.FP16)).model
        feed = ready.loads[0].feeds[0]
        for clock, build in CLOCKS.items():
            made = backend_factory(smoke.backend)(BackendOptions(build=build))
            session = made.open(made.build(model))
            session.time(feed, 50)
            values = [median(session.time(feed, 50)) * 1e3 for _ in range(10)]
            session.close()
            middle = median(values)
            spread = 100 * (max(values) - min(values)) / middle
            notes = made.warnings(model)
            smoke.rows[f"clock {name} {clock}"] = {"ms": values, "notes": notes}
            lines.append(f"{name} {clock}: {middle:.4f} ms, spread {spread:.2f} % {notes or ''}")
    return "\n    ".join(lines)


def uniform(smoke: Smoke) -> str:
    """FP32 strict, TF32, FP16 and BF16 everywhere, head to head."""
    lines = []
    for name in smoke.names:
        ready = smoke.model(name)
        wanted = {
            "FP32": (Assignment(), STRICT),
            "TF32": (Assignment(), TF32),
            "FP16": (ready.uniform(Precision.FP16), TF32),
            "BF16": (ready.uniform(Precision.BF16), TF32),
            "FP16, heuristic": (
                ready.uniform(Precision.FP16),
                {**TF32, "cudnn_conv_algo_search": "heuristic", "prefer_nhwc": "true"},
            ),
        }
        for engine in measured(ready, smoke.backend, wanted, QUICK):
            row = engine.row(1e-2)
            smoke.rows[f"uniform {name} {engine.name}"] = row
            numbers = {k: v for k, v in row.items() if k in ("ms", "ratio", "loss")}
            text = ", ".join(f"{k} {v:.4g}" for k, v in numbers.items())
            lines.append(f"{name} {engine.name}: {text} {engine.failed} {list(engine.warnings)}")
    return "\n    ".join(lines)


def profiles(smoke: Smoke) -> str:
    """What the profile says, and how long it took."""
    lines = []
    for name in smoke.names:
        ready = smoke.model(name)
        made: Any = backend_factory(smoke.backend)(BackendOptions())
        lines += [
            f"{name} {precision}: {profile(smoke, made, ready, name, precision)}"
            for precision in (Precision.FP32, Precision.FP16, Precision.BF16)
        ]
        made._profiles.close()
    return "\n    ".join(lines)


def profile(smoke: Smoke, made: Any, ready: Prepared, name: str, precision: Precision) -> str:  # noqa: ANN401 - a backend
    """One engine's."""
    model = ready.lowered(ready.uniform(precision)).model
    start = time.monotonic()
    try:
        session = made.open(model, profiled=True)
        rows = session.profile(ready.loads[0].feeds[0], 3)
    except PrecsearchError as error:
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - start
    session.close()
    by = Counter(f"{k.op_type} {k.precision}" for k in rows)
    smoke.rows[f"profile {name} {precision}"] = [
        [k.op_type, str(k.precision), k.seconds, list(k.nodes)] for k in rows
    ]
    total = sum(k.seconds for k in rows) * 1e3
    most = sorted(rows, key=lambda k: -k.seconds)[:3]
    top = ", ".join(f"{k.op_type} {k.seconds * 1e3:.3f}" for k in most)
    return (
        f"{len(rows)} kernels, sum {total:.3f} ms, {took:.1f} s; {top}; {by.most_common(8)}; "
        f"{made.warnings(model)}"
    )


def search(smoke: Smoke) -> str:
    """A search of six engines, as a user would start it."""
    lines = []
    for name in smoke.names:
        story = STORIES[name](smoke.carry, smoke.work)
        config = config_of(story, smoke.backend, smoke.work, max_builds=6)
        result, facts = searched(config)
        smoke.rows[f"search {name}"] = {"summary": result.summary, **facts}
        lines.append(f"{name}: {facts['wall']:.1f} s, in engines {facts['in engines']:.1f} s")
        lines += result.summary
        lines += [str(t) for t in facts["trials"] if t["fidelity"] == "engine"]
    return "\n    ".join(lines)


CHECKS: dict[str, Callable[[Smoke], str]] = {
    "environment": environment,
    "uniform": uniform,
    "clocks": clocks,
    "profiles": profiles,
    "search": search,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checks", nargs="*", default=list(CHECKS))
    parser.add_argument("--carry", type=Path, default=Path(".carry"))
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("-o", "--output", type=Path, default=Path(os.environ.get("OUT", "out")))
    parser.add_argument("--stand-in", action="store_true")
    args = parser.parse_args()
    for folder in (args.output, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    name = "onnxruntime-cuda"
    if args.stand_in:
        from tests.backends.ort_cuda.stand_in import installed

        name = installed()
    smoke = Smoke(name, args.carry, args.work, args.output, args.stand_in)
    start, failures = time.monotonic(), []
    for check in args.checks:
        before = time.monotonic()
        try:
            said = CHECKS[check](smoke)
        except BaseException as error:  # noqa: BLE001 - each check fails for itself, and is printed
            text = traceback.format_exc()
            failures.append(f"{check}\n{text}")
            said = f"{type(error).__name__}: {error}"
        print(f"{check} ({time.monotonic() - before:.1f} s)\n    {said}", flush=True)
        text = json.dumps(smoke.rows, indent=1, default=str)
        (args.output / "smoke.json").write_text(text)
    (args.output / "exceptions.txt").write_text("\n".join(failures))
    print(f"{time.monotonic() - start:.1f} s, {len(failures)} checks failed")
    for text in failures:
        print(text)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
