"""Typical cases of TensorRT users, each from the model to a plan on a real GPU.

    python benchmarks/gpu/stories.py vit8 vit32 resnet swin noise --generators DIR -o OUT
    python benchmarks/gpu/stories.py fixtures --fixtures DIR -o OUT
    python benchmarks/gpu/stories.py unet detector --generators DIR -o OUT --max-builds 8

``vit``: a transformer whose LayerNorms overflow in FP16 (batch 8, batch 32). ``resnet``: a
residual CNN whose INT8 pays only with Q/DQ on the shortcuts. ``swin``: windows of 49 tokens, where
INT8 is slower than FP16. ``fixtures``: four trained models at batch 32. ``placements``: INT8 with
Q/DQ on no, one or both inputs of each Add of the residual CNN. ``noise``: one engine timed
ten times, one plan built three times. ``unet``: its INT8 engine does not build. ``detector``: its
FP32 engine with TF32 is beyond the bound. DIR holds ``gen_gpu_vit.py``, ``gen_gpu_resnet.py``,
``gen_swin.py`` and ``gen_gpu_more.py``, or the folders of trained models. Prints one
table; OUT gets every number as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx

from benchmarks.gpu.judging import Row, as_row, judged, searched, table
from precsearch.api import OptimizeConfig
from precsearch.core.errors import PrecsearchError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Fidelity
from precsearch.executors.candidates import candidate, measurement_config
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.measurement.place import Place
from precsearch.measurement.service import MeasurementConfig, MeasurementService
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.plan.plan import read_plan
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target

_RESIDUAL = 3e-2
"""What INT8 can reach on the residual CNN."""
FOLDER_OF = {
    "timesformer": "timesformer_digits",
    "swin": "swin_digits",
    "resnet20": "resnet20_cifar10",
    "minilm": "minilm_l6_banking77",
}


def told(
    story: str,
    model: Path,
    data: Path | None,
    args: argparse.Namespace,
    **options: Any,  # noqa: ANN401 - those of OptimizeConfig
) -> list[Row]:
    """Search, unless a plan is there already; then judge."""
    print(f"{story}: {options}", file=sys.stderr)
    config = OptimizeConfig(
        model,
        data,
        backend="tensorrt",
        output=args.output / f"{story}.plan.json",
        run_dir=args.work / f"{story}.run",
        max_builds=options.pop("max_builds", args.max_builds),
        force=True,
        **options,
    )
    config.run_path.mkdir(parents=True, exist_ok=True)
    if args.plans is not None and (kept := args.plans / f"{story}.plan.json").exists():
        return judged(story, config, read_plan(kept), {})
    result, facts = searched(config)
    if result.plan is None:
        print(f"  no plan: {result.summary}", file=sys.stderr)
        return []
    return judged(story, config, result.plan, facts)


def samples(path: Path, name: str, shape: tuple[int, ...], seed: int = 1) -> Path:
    """Standard normal samples of a model's input."""
    drawn: Any = {name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
    np.savez(path, **drawn)
    return path


def vit(batch: int) -> Callable[[argparse.Namespace], list[Row]]:
    """The TimeSformer story."""

    def tell(args: argparse.Namespace) -> list[Row]:
        module = importlib.import_module("gen_gpu_vit")
        model = args.work / f"vit{batch}.onnx"
        onnx.save(module.vit(batch=batch, outlier=8000.0), model)
        data = samples(args.work / f"vit{batch}.npz", "x", (8 * batch, 196, 768))
        return told(f"vit{batch}", model, data, args, tol=1e-2)

    return tell


def resnet(args: argparse.Namespace) -> list[Row]:
    """The residual story; the bound is what INT8 can reach there."""
    module = importlib.import_module("gen_gpu_resnet")
    model = args.work / "resnet.onnx"
    onnx.save(module.cnn(B=32), model)
    data = samples(args.work / "resnet.npz", "x", (64, 3, 224, 224))
    return told("resnet", model, data, args, tol=_RESIDUAL)


def swin(batch: int) -> Callable[[argparse.Namespace], list[Row]]:
    """The Swin story at a size that keeps a GPU busy."""

    def tell(args: argparse.Namespace) -> list[Row]:
        module = importlib.import_module("gen_swin")
        size = {**module.CFG, "IMG": 56, "D": 96, "H": 3}
        model = args.work / "swin.onnx"
        onnx.save(module.build(module.random_params(0, size), size), model)
        data = samples(args.work / f"swin{batch}.npz", "image", (max(16, batch), 1, 56, 56))
        return told(f"swin{batch}", model, data, args, tol=1e-2, batch=batch)

    return tell


def more(name: str, tol: float) -> Callable[[argparse.Namespace], list[Row]]:
    """A model of ``gen_gpu_more.py``: the UNet or the detector."""

    def tell(args: argparse.Namespace) -> list[Row]:
        module = importlib.import_module("gen_gpu_more")
        proto, shapes, batch = module.ALL[name]()
        model, data = args.work / f"{name}.onnx", args.work / f"{name}.npz"
        onnx.save(proto, model)
        np.savez(data, **module.draw(shapes, 4 * batch, 1))
        return told(name, model, data, args, tol=tol)

    return tell


def fixture(name: str) -> Callable[[argparse.Namespace], list[Row]]:
    """A trained model at batch 32."""

    def tell(args: argparse.Namespace) -> list[Row]:
        folder = args.fixtures / FOLDER_OF[name]
        return told(name, folder / "model.onnx", folder / "data.npz", args, tol=1e-2, batch=32)

    return tell


def unsearched(config: OptimizeConfig) -> tuple[MeasurementConfig, Lowering]:
    """A model ready to be measured without a search."""
    config.run_path.mkdir(parents=True, exist_ok=True)
    target = open_target(read_model(config.model), "tensorrt", None, "group", 0)
    inputs = open_inputs(config, target.graph)
    with worker_here(target.source, target.facts) as runner:
        scored = reference_of(target, inputs.parts.search, runner)
        target, lowering, _ = calibrated(target, inputs, "minmax", runner, config.run_path)
    plain = lowering.lower(Assignment())
    return measurement_config(config, target, plain, scored, inputs.loads, inputs.shapes), lowering


def residual(args: argparse.Namespace) -> tuple[MeasurementConfig, Lowering]:
    """The residual CNN."""
    module = importlib.import_module("gen_gpu_resnet")
    model = args.work / "resnet.onnx"
    onnx.save(module.cnn(B=32), model)
    data = samples(args.work / "resnet.npz", "x", (64, 3, 224, 224))
    run_dir = args.work / "resnet.run"
    return unsearched(OptimizeConfig(model, data, _RESIDUAL, backend="tensorrt", run_dir=run_dir))


def placements(args: argparse.Namespace) -> list[Row]:
    """INT8 products with Q/DQ on no, one or both inputs of each Add, beside FP16."""
    setup, lowering = residual(args)
    space = lowering.space
    both = space.uniform(Precision.INT8)
    adds = {g.key: Precision.FP16 for g in space.free if g.kind == "add"}
    branches = {g.key: Precision.FP32 for g in space.free if g.kind == "add-branch"}
    asked = {
        "FP16 everywhere": space.uniform(Precision.FP16),
        "INT8, no input of an Add": space.canonical(both.with_({**adds, **branches})),
        "INT8, the shortcut": space.canonical(both.with_(branches)),
        "INT8, both inputs": both,
    }
    bench = MeasurementService(Place(), setup, lambda _: None)
    bench.calibrate_noise()
    engines = {name: candidate(lowering.lower(a)) for name, a in asked.items()}
    measured = {name: bench.measure(e, Fidelity.ENGINE) for name, e in engines.items()}
    timed = bench.confirm(list(engines.values()), 1)
    pairs = zip(measured.items(), timed, strict=True)
    return [as_row("placements", name, m, row[0], _RESIDUAL) for (name, m), row in pairs]


def noise(args: argparse.Namespace) -> list[Row]:
    """One engine timed ten times, one plan built three times: how far the numbers carry."""
    setup, lowering = residual(args)
    half = candidate(lowering.lower(lowering.space.uniform(Precision.FP16)))
    again = MeasurementService(Place(), setup, lambda _: None).confirm([half], 10)[0]
    rebuilt = [
        MeasurementService(Place(), setup, lambda _: None).confirm([half], 1)[0][0]
        for _ in range(3)
    ]
    found = []
    for name, rows in (("one engine, 10 times", again), ("one plan, built 3 times", rebuilt)):
        values = [r.seconds * 1e3 for r in rows]
        ratios = [r.ratio for r in rows]
        facts = {"ms": values, "ratios": ratios}
        spread = (median(values), min(values), max(values), median(ratios))
        found.append(Row("noise", name, *spread, 0.0, True, notes=facts))
    return found


STORIES: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "vit8": vit(8),
    "vit32": vit(32),
    "resnet": resnet,
    "swin1": swin(1),
    "swin16": swin(16),
    "swin64": swin(64),
    **{name: fixture(name) for name in FOLDER_OF},
    "unet": more("unet", _RESIDUAL),
    "detector": more("detector", 1e-2),
    "placements": placements,
    "noise": noise,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stories", nargs="+", choices=[*STORIES, "fixtures"])
    parser.add_argument("--generators", type=Path, default=Path())
    parser.add_argument("--fixtures", type=Path, default=Path())
    parser.add_argument("--plans", type=Path, help="judge STORY.plan.json from here, do not search")
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs"))
    parser.add_argument("--max-builds", type=int, default=12)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    sys.path.insert(0, str(args.generators.resolve()))
    args.output.mkdir(parents=True, exist_ok=True)
    args.work.mkdir(parents=True, exist_ok=True)
    names = [n for s in args.stories for n in (FOLDER_OF if s == "fixtures" else [s])]
    rows: list[Row] = []
    for name in names:
        try:
            rows += STORIES[name](args)
        except (PrecsearchError, MemoryError) as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        text = json.dumps([asdict(r) for r in rows], indent=1, default=str)
        (args.output / f"stories-{args.stories[0]}.json").write_text(text)
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
