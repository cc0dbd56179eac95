"""What each correction of INT8 gains: INT8 everywhere without, with each, and with all but one.

    python -m benchmarks.corrections FOLDER --model NAME … [-o TABLE.md]

Each model is ``FOLDER/NAME/{model.onnx,data.npz,holdout.npz}``. Nothing is timed: corrections cost
nothing at run time. Losses are relative L2 of ONNX Runtime's engine on the holdout, which neither
calibration nor the choice of corrections sees. A cell in brackets was tried and not kept.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import BackendOptions
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


def losses(folder: Path) -> dict[str, str]:
    """Loss of INT8 everywhere on the holdout by `sets`."""
    found: dict[str, str] = {}
    plain, _ = _corrected(folder, ())
    whole, kept = _corrected(folder, CORRECTIONS)
    for heading, names in sets().items():
        if not names:
            loss, here = plain, tuple[str, ...]()
        elif set(kept) <= set(names):  # what is not kept has no effect on the rest
            loss, here = whole, kept
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
    held_out = inputs.parts.holdout
    assert held_out is not None
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    rows = [f"| model | {' | '.join(sets())} |", "|---" * (1 + len(sets())) + "|"]
    for name in given.model:
        found = losses(given.folder / name)
        rows.append(f"| {name} | {' | '.join(found.values())} |")
    text = "\n".join(rows) + "\n"
    print(text)
    if given.output is not None:
        given.output.write_text(text)


if __name__ == "__main__":
    main()
