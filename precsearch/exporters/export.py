"""`export`: a plan's model with what other tools need to build its engine, or to show it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx

from precsearch.backends.tensorrt.layer_precisions import Pins, pins, renamed
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.core.backend import BackendFacts
from precsearch.core.errors import BuildError, OptionError, OutputError, PlanError
from precsearch.exporters.onnxruntime import onnxruntime_script
from precsearch.exporters.overlays import model_explorer_data, netron_model, notes_of
from precsearch.exporters.polygraphy import polygraphy_script
from precsearch.exporters.polygraphy_script import postprocess_script
from precsearch.exporters.script import Job, Shape
from precsearch.exporters.trtexec import LONGEST, trtexec_script
from precsearch.plan.plan import Recipe, read_plan
from precsearch.replay.materialize import Materialized, materialize
from precsearch.replay.model_file import model_beside
from precsearch.replay.weights import write_model
from precsearch.setup.files import check_free, write_output

__all__ = ["TOOLS", "ExportReport", "export"]

_VIEWERS = ("model-explorer", "netron")
TOOLS = ("polygraphy", "trtexec", *_VIEWERS)

_BY_NAME = (
    "trtexec goes by layer names, and so reaches one layer of each node; --to polygraphy reaches "
    "them all"
)


@dataclass(frozen=True)
class ExportReport:
    """What `export` wrote.

    Attributes:
        tool: What it is for.
        model: The ONNX file.
        script: The shell script; for a viewer, the file that it shows: the overlay, or the model.
        others: Further files that it needs.
        identical: Whether the ONNX file is byte for byte what `build` writes for this plan.
        notes: What the user should know.
    """

    tool: str
    model: Path
    script: Path
    others: tuple[Path, ...]
    identical: bool
    notes: tuple[str, ...]


def export(
    plan: str | Path,
    model: str | Path | None,
    to: str,
    output: str | Path,
    *,
    force: bool = False,
) -> ExportReport:
    """Write a plan's model and what builds it outside of precsearch.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        to: ``polygraphy`` or ``trtexec``, which build an engine; ``model-explorer`` or ``netron``,
            which show the precision of each node.
        output: A folder; made if it is missing.
        force: Replace what is there.

    Raises:
        InputError: Plan or model cannot be read, the tool cannot express the plan, or the output
            cannot be written.
        ReplayError: The model is another one, or the result differs from what the plan promises.
    """
    if to not in TOOLS:
        raise OptionError(f"there is no export to {to!r}; use one of {', '.join(TOOLS)}")
    plan, folder = Path(plan), Path(output)
    source = model_beside(plan, None if model is None else Path(model))
    stem = re.sub(r"[^\w.-]+", "_", plan.name.removesuffix(".json").removesuffix(".plan"))
    files = {"model": folder / f"{stem}{'.netron' if to == 'netron' else ''}.onnx"}
    if to == "model-explorer":
        files["overlay"] = folder / f"{stem}.model-explorer.json"
    elif to not in _VIEWERS:
        files["script"] = folder / f"{stem}.{to}.sh"
        # Polygraphy imports it by its name, in which a dot would be a package's.
        files["postprocess"] = folder / (re.sub(r"\W", "_", stem) + "_polygraphy.py")
    _make_folder(folder)
    check_free(files.values(), force=force, inputs=(plan, source))
    read = read_plan(plan)
    if to == "trtexec":
        _refuse_asymmetric(read.recipe)
    materialized = materialize(read, source, None)
    check_free(files.values(), force=True, inputs=materialized.target.source.external)
    if to in _VIEWERS:
        return _shown(materialized, to, files, force=force)
    return _write(materialized, to, files, force=force)


def _write(
    materialized: Materialized, to: str, files: dict[str, Path], *, force: bool
) -> ExportReport:
    recipe = materialized.plan.recipe
    lowered = onnx.load_model_from_string(materialized.lowered.model)
    knobs = _knobs(recipe)
    asked = _pins(lowered, knobs) if materialized.target.form.annotated else None
    notes: tuple[str, ...] = ()
    data = materialized.lowered.model
    if to == "trtexec" and asked is not None:
        notes = (_BY_NAME,)
        if changed := renamed(lowered, [p.node for p in asked.to_set], LONGEST):
            asked = _pins(lowered, knobs)
            data = lowered.SerializeToString(deterministic=True)
            notes = (_renaming(changed), _BY_NAME)
    job = Job(
        plan=materialized.plan.digest,
        model=files["model"].name,
        engine=f"{files['model'].stem}.engine",
        shapes=_open_shapes(lowered, recipe),
        knobs=knobs,
        pins=asked,
    )
    exporter = materialized.target.facts.exporter
    script = _script(job, to, materialized.target.facts, files["postprocess"].name)
    put = partial(write_output, force=force)
    write_model(materialized.target.source, files["model"], data, put)
    others: tuple[Path, ...] = ()
    if to == "polygraphy" and exporter != "onnxruntime":
        others = (files["postprocess"],)
        nodes = None if asked is None else asked.nodes
        text = postprocess_script(materialized.plan.digest, knobs.timing_iterations, nodes)
        write_output(files["postprocess"], text, force=force)
    write_output(files["script"], script, force=force)
    files["script"].chmod(files["script"].stat().st_mode | 0o111)
    identical = data == materialized.lowered.model
    plan_notes = (*materialized.plan.notes, *notes)
    return ExportReport(to, files["model"], files["script"], others, identical, plan_notes)


def _shown(
    materialized: Materialized, to: str, files: dict[str, Path], *, force: bool
) -> ExportReport:
    """Write what a viewer shows."""
    lowered = bytes(materialized.lowered.model)
    model = onnx.load_model_from_string(lowered)
    notes = notes_of(materialized.plan, model, materialized.lowered.owners)
    data = netron_model(model, notes) if to == "netron" else lowered
    write_model(
        materialized.target.source, files["model"], data, partial(write_output, force=force)
    )
    if to == "model-explorer":
        write_output(files["overlay"], model_explorer_data(model, notes), force=force)
    shown = files.get("overlay", files["model"])
    return ExportReport(to, files["model"], shown, (), data == lowered, materialized.plan.notes)


def _script(job: Job, to: str, facts: BackendFacts, postprocess: str) -> str:
    if to == "trtexec":
        return trtexec_script(job)
    if facts.exporter == "onnxruntime":
        return onnxruntime_script(job, facts.device)
    return polygraphy_script(job, postprocess)


def _pins(model: onnx.ModelProto, knobs: TensorRtOptions) -> Pins:
    try:
        return pins(model, pin_half=knobs.layer_precisions == "all")
    except BuildError as error:
        raise PlanError(f"{error}; make the plan again") from error


def _knobs(recipe: Recipe) -> TensorRtOptions:
    if recipe.backend != "tensorrt":
        return TensorRtOptions()
    given = {name: str(value) for name, value in recipe.options.items() if name != "threads"}
    return TensorRtOptions.of(given)


def _refuse_asymmetric(recipe: Recipe) -> None:
    """TensorRT reads symmetric INT8 alone."""
    if recipe.backend == "onnxruntime" and recipe.scales:
        raise OptionError(
            "the plan's INT8 is ONNX Runtime's, with zero points that TensorRT does not read; make "
            "a plan with --backend tensorrt, or leave INT8 out of --precisions"
        )


def _renaming(changed: dict[str, str]) -> str:
    old, new = next(iter(changed.items()))
    return (
        f"{len(changed)} nodes have other names in the exported model, for trtexec's sake: "
        f"{old!r} is {new!r}"
    )


def _open_shapes(model: onnx.ModelProto, recipe: Recipe) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Inputs that have a dimension without a number: the least shape, the first, the greatest."""
    opened = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        sizes = [tuple(shapes[value.name]) for shapes in recipe.shapes if value.name in shapes]
        if sizes and any(not d.HasField("dim_value") for d in dims):
            least = tuple(map(min, zip(*sizes, strict=True)))
            most = tuple(map(max, zip(*sizes, strict=True)))
            opened[value.name] = (least, sizes[0], most)
    return opened


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=False, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"the folder {str(folder)!r} cannot be made: {reason}; name another with -o"
        ) from error
