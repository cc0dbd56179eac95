"""Replaying a plan: `build` gives the same bytes, or says what differs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from precsearch.core.errors import InputError, OptionError, PlanError, ReplayError
from precsearch.core.precision import Precision
from precsearch.graph.reading.read import SourceModel, read_model
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.lowering.qdq.scales import FixedScales
from precsearch.plan.plan import Plan, Recipe, read_plan
from precsearch.replay.ahead import built_ahead, handed_over
from precsearch.replay.artifact import EDITED, is_engine, rebuilt, write_artifact
from precsearch.replay.groups import with_groups
from precsearch.replay.judging import expect_digest
from precsearch.replay.model_file import model_beside
from precsearch.replay.portable import artifact_paths, loading
from precsearch.replay.recipe_values import build_options, form_of, scale_params, threads_of
from precsearch.replay.shifts import dynamic_nodes, fixed_shifts
from precsearch.rewrites import Recorded, with_rewrites
from precsearch.setup.files import check_free, write_output
from precsearch.setup.target import Target, open_target

__all__ = [
    "BuildReport",
    "Materialized",
    "build",
    "lowered_again",
    "materialize",
    "original",
    "plan_target",
]


@dataclass(frozen=True)
class BuildReport:
    """What `build` made.

    Attributes:
        verdict: ``identical``: byte for byte what the plan promises, or for an engine, the same
            kernels on the same device; ``equivalent`` and ``same plan, other kernels``: see
            `precsearch.replay.artifact.Replay`; ``built ahead of time``: for an absent GPU.
        path: The file.
        sha256: Of the file, as hex.
        size: Bytes.
        lines: What differs from the plan's evidence, a sentence each.
        loading: Lines of Python that open the file; nothing for an engine.
    """

    verdict: str
    path: Path
    sha256: str
    size: int
    lines: tuple[str, ...] = ()
    loading: tuple[str, ...] = ()


@dataclass(frozen=True)
class Materialized:
    """A plan's model, lowered again and found to be what the plan promises.

    Attributes:
        plan: The plan.
        target: The model and the backend that it is for.
        lowering: Lowers with the plan's scales.
        lowered: The plan's model.
    """

    plan: Plan
    target: Target
    lowering: Lowering
    lowered: Lowered


def materialize(plan: Plan, model: Path, threads: int | None) -> Materialized:
    """Lower a plan's model.

    Args:
        plan: The plan.
        model: The original model's file.
        threads: Another number of threads than the plan's.

    Raises:
        InputError: The model cannot be read, or the plan was edited.
        ReplayError: The model is another one, or the result differs from what the plan promises.
    """
    recipe = plan.recipe
    form_of(plan)
    source = original(plan, model)
    made = lowered_again(plan, source, threads)
    if made.lowered.sha256 != recipe.materialised_sha256:
        where = _first_difference(recipe, made.target, made.lowered)
        where = where or "inputs, outputs or what no group owns differ"
        raise ReplayError(
            f"the plan does not reproduce: {where}"
            "; compare the versions of onnx, onnx_ir and numpy with those in the plan's evidence"
        )
    return made


def original(plan: Plan, model: Path) -> SourceModel:
    """Read the model that a plan was made for.

    Raises:
        ModelError: It cannot be read.
        ReplayError: It is another one.
    """
    source = read_model(model)
    if source.digest != plan.recipe.model_sha256:
        raise ReplayError(
            f"{model.name!r} is not the model that the plan was made for (SHA-256 "
            f"{source.digest[:12]}, the plan has {plan.recipe.model_sha256[:12]}): "
            f"{_unlike(plan, source)}; give the original model or make a new plan"
        )
    return source


def lowered_again(plan: Plan, source: SourceModel, threads: int | None = None) -> Materialized:
    """Lower a plan's model; that it is what the plan promises is for the caller to check.

    Args:
        plan: The plan.
        source: Its model as read.
        threads: Another number of threads than the plan's.

    Raises:
        PlanError: The plan's scales or options make no sense, or a scale is missing.
        ReplayError: This version groups the model otherwise.
    """
    recipe = plan.recipe
    used = {g.precision for g in recipe.groups} | {Precision.FP32}
    target = plan_target(plan, source, used, threads)
    scheme, graph = target.scheme, target.graph
    shifts, dynamic = fixed_shifts(recipe, graph), dynamic_nodes(recipe, graph, scheme)
    scales = FixedScales(scale_params(recipe, scheme), shifts, dynamic)
    lowering = Lowering(target.graph, target.space, scheme, scales, target.form)
    return Materialized(plan, target, lowering, lowering.lower(recipe.assignment))


def plan_target(
    plan: Plan,
    source: SourceModel,
    used: Collection[Precision],
    threads: int | None = None,
    *,
    check: bool = True,
) -> Target:
    """A plan's model, rewritten and grouped as in the search.

    Args:
        plan: The plan.
        source: Its model as read.
        used: Precisions that the search offered, as far as they are known.
        threads: Another number of threads than the plan's.
        check: Whether the groups must be the plan's. Otherwise all of ``used`` were offered, and
            the groups are those of the model without some of the plan's rewrites.

    Raises:
        PlanError: The plan's options make no sense.
        ReplayError: This version groups the model otherwise.
    """
    recipe = plan.recipe
    count = threads_of(recipe) if threads is None else threads
    source = _rewritten(plan, source)
    offered = partial(_target, plan, source, threads=count)
    if not check:
        return replace(offered(tuple(used)), rewrites=_rewrites(recipe))
    target = replace(with_groups(offered, used, recipe.space_sha256), rewrites=_rewrites(recipe))
    if target.space.digest != recipe.space_sha256:
        unknown = [g.key for g in recipe.groups if g.key not in target.space.by_key]
        where = f" (there is no group {unknown[0]!r} now)" if unknown else ""
        raise ReplayError(
            "this version groups the model's layers differently from the one that made the "
            f"plan{where}; install precsearch {plan.made_by} or make a new plan"
        )
    return target


def _rewrites(recipe: Recipe) -> tuple[Recorded, ...]:
    return tuple((rewrite.name, rewrite.params) for rewrite in recipe.rewrites)


def _rewritten(plan: Plan, source: SourceModel) -> SourceModel:
    """The model after the plan's rewrites, each of which changed something."""
    for name, params in _rewrites(plan.recipe):
        try:
            rewritten = with_rewrites(source, [(name, params)])
        except OptionError as error:
            raise PlanError(f"{error}; {EDITED}") from error
        if rewritten.proto is source.proto:
            raise ReplayError(
                f"the plan's rewrite {name!r} fits nowhere in this model now; install precsearch "
                f"{plan.made_by} or make a new plan"
            )
        source = rewritten
    return source


def _target(plan: Plan, source: SourceModel, used: tuple[Precision, ...], threads: int) -> Target:
    recipe = plan.recipe
    try:
        return open_target(
            source,
            recipe.backend,
            used,
            recipe.granularity,
            threads,
            recipe.scheme,
            form=form_of(plan),
            build=build_options(recipe),
            shapes=recipe.shapes,
        )
    except OptionError as error:
        raise PlanError(f"{error}; {EDITED}") from error


def _unlike(plan: Plan, source: SourceModel) -> str:
    """How another model differs from the one that a plan was made for, as far as can be told."""
    try:
        lowered = lowered_again(plan, source, None)
    except (InputError, ReplayError):
        return "its layers are others"
    if lowered.lowered.sha256 != plan.recipe.materialised_sha256:
        return _first_difference(plan.recipe, lowered.target, lowered.lowered)
    if source.external:
        return "its external weights differ, or names and notes"
    return "it differs in what this plan leaves no trace of (notes, or a weight's last digits)"


def _first_difference(recipe: Recipe, target: Target, lowered: Lowered) -> str:
    """The first node that differs, of two lowered models that do."""
    for group in recipe.groups:
        if lowered.parts.get(group.key, "") != group.digest:
            nodes = target.space.by_key[group.key].nodes
            return f"the first node that differs is {nodes[0]!r} (group {group.key!r})"
    return "inputs, outputs or what no group owns differ"


def build(
    plan: str | Path,
    model: str | Path | None,
    output: str | Path,
    *,
    force: bool = False,
    expect: str | None = None,
    backend: str | None = None,
    target: str | None = None,
) -> BuildReport:
    """Materialize a plan's model, byte for byte, and build the engine if one is wanted.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        output: Where to write. Where engines are no models, ``.onnx`` and the backend's own format
            (``.xml`` of OpenVINO) get the model, any other name the engine.
        force: Replace what is there.
        expect: The digest that the plan must have, as 64 hexadecimal digits.
        backend: Another backend than the plan's that takes its kind of graph, as TensorRT 10 and
            later and TensorRT-RTX take each other's; ``None`` is the plan's own.
        target: What to build an engine for that is not here, such as ``sm89``.

    Raises:
        InputError: Plan or model cannot be read, or the output cannot be written.
        ReplayError: The plan has another digest, the model is another one, or the result differs
            from what the plan promises.
        EngineError: The engine cannot be built here.
    """
    plan, output = Path(plan), Path(output)
    source = model_beside(plan, None if model is None else Path(model))
    free = partial(check_free, force=force, inputs=(plan, source))
    free((output,))
    read = read_plan(plan)
    free(artifact_paths(read.recipe.backend, output))
    expect_digest(read, expect)
    materialized = materialize(read, source, None)
    lowered = materialized.lowered
    put = partial(write_output, force=force)
    if target is not None:
        engine, lines = built_ahead(read, materialized.target, lowered, backend, target)
        put(output, engine.artifact)
        return _report("built ahead of time", output, engine.artifact, (*read.notes, *lines))
    place = handed_over(read, materialized.target, backend)
    if not is_engine(place, output):
        written = write_artifact(place, output, lowered, None, put)
        report = _report("identical", output, written, read.notes)
        return replace(report, loading=loading(place.backend, output))
    again = rebuilt(read, place, lowered)
    write_artifact(place, output, lowered, again.engine, put)
    lines = (*read.notes, *again.lines)
    return _report(again.verdict, output, again.engine.artifact, lines)


def _report(verdict: str, output: Path, artifact: bytes, lines: tuple[str, ...]) -> BuildReport:
    sha256 = hashlib.sha256(artifact).hexdigest()
    return BuildReport(verdict, output, sha256, len(artifact), lines)
