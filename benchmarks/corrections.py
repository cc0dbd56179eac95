"""What each correction of INT8 gains: INT8 everywhere without, with each, and with all but one.

    python -m benchmarks.corrections FOLDER … [--model NAME …] [--seconds 240] [-o TABLE.md]

Each model is ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``; without ``--model`` all of them.
Nothing is timed. Losses are relative L2 of ONNX Runtime's engine on the holdout, which neither
calibration nor the choice of corrections sees. A cell in brackets was tried and not kept. What did
not begin within ``--seconds`` of a model is a dash; what did has all the time that it takes, unlike
in a search with a time budget.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import PrecsearchError
from precsearch.core.precision import Precision
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.measurement.service import ReferenceSplit
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.optimization.stages.correct import Correcting
from precsearch.optimization.stages.corrected import Corrected
from precsearch.optimization.stages.rewrite import open_rewritten
from precsearch.setup.config import CORRECTIONS, OptimizeConfig
from precsearch.setup.inputs import Inputs


def sets() -> dict[str, tuple[str, ...]]:
    """Sets of corrections by the heading of their column."""
    alone = {name: (name,) for name in CORRECTIONS}
    without = {
        f"all but {name}": tuple(c for c in CORRECTIONS if c != name) for name in CORRECTIONS
    }
    return {"none": (), **alone, "all": CORRECTIONS, **without}


def losses(folder: Path, seconds: float) -> dict[str, str]:
    """Loss of INT8 everywhere on the holdout by `sets`, of those that there is time for."""
    end = time.monotonic() + seconds
    plain, _ = _corrected(folder, ())
    whole, kept = _corrected(folder, CORRECTIONS)
    found = {"none": f"{plain:.4f}", "all": f"{whole:.4f}"}
    print(folder.name, found, kept, flush=True)
    for heading, names in sets().items():
        if heading in found:
            continue
        if set(kept) <= set(names):  # what is not kept has no effect on the rest
            loss, here = whole, kept
        elif time.monotonic() > end:
            continue
        else:
            loss, here = _corrected(folder, names)
        found[heading] = f"({loss:.4f})" if len(names) == 1 and not here else f"{loss:.4f}"
        print(folder.name, heading, found[heading], here, flush=True)
    return found


def _corrected(folder: Path, names: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """Loss with what is kept of some corrections, and what that is."""
    config = OptimizeConfig(
        folder / "model.onnx",
        folder / "data.npz",
        holdout=folder / "holdout.npz",
        backend="onnxruntime",
        threads=1,
        corrections=names,
    )
    target, inputs, _ = open_rewritten(config, read_model(config.model))
    held_out = inputs.parts.holdout or inputs.parts.search
    with (
        tempfile.TemporaryDirectory() as scratch,
        worker_here(target.source, target.backend.facts) as worker,
    ):
        asked = replace(config, run_dir=Path(scratch))
        searched = reference_of(target, inputs.parts.search, worker)
        judged = reference_of(target, held_out, worker)
        target, lowering, _ = calibrated(target, inputs, "minmax", worker, Path(scratch))
        steps = Correcting(asked, target, lowering, inputs, searched, worker).events()
        try:
            while True:
                next(steps)
        except StopIteration as end:
            made: Corrected = end.value
        rows = [row.name for row in made.corrections.evidence if row.kept]
        first = [name for name, _ in target.rewrites]
        return _loss(made, inputs, judged), (*first, *rows)


def _loss(made: Corrected, inputs: Inputs, part: ReferenceSplit) -> float:
    backend = OnnxRuntimeBackend(BackendOptions(threads=1))
    model = made.lowering.lower(made.target.space.uniform(Precision.INT8)).model
    session = backend.open(backend.build(model))
    outputs = [session.run(feed) for feed in part.data.feeds]
    session.close()
    sizes = part.data.sizes
    return inputs.metric.score(outputs, part.reference, part.data.flat_labels, sizes=sizes).loss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", action="append", dest="models")
    parser.add_argument("--seconds", type=float, default=240.0, help="for each model, about")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    every = [p.parent for folder in given.folders for p in sorted(folder.glob("*/model.onnx"))]
    rows = [f"| model | {' | '.join(sets())} |", "|---" * (1 + len(sets())) + "|"]
    for folder in every:
        if not (folder / "data.npz").exists() or folder.name not in (given.models or [folder.name]):
            continue
        try:
            found = losses(folder, given.seconds)
        except (PrecsearchError, AssertionError) as error:
            print(f"{folder.name}: {error}", file=sys.stderr, flush=True)
            continue
        rows.append(f"| {folder.name} | {' | '.join(found.get(h, '-') for h in sets())} |")
        if given.output is not None:
            given.output.write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
