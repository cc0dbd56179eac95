"""Replaying a plan: `build` gives the same bytes or says what differs, `verify` measures again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precsearch.api.config import OptimizeConfig
from precsearch.api.evidence import LOWERING
from precsearch.api.files import check_free, copy_weights, write_bytes
from precsearch.api.setup import (
    Target,
    bench_setup,
    bench_worker,
    candidate,
    open_inputs,
    open_target,
    reference_of,
)
from precsearch.api.shapes import shape_sets
from precsearch.backend import QuantScheme
from precsearch.errors import InputError, PlanError, ReplayError
from precsearch.onnxio.lower import Lowered, Lowering
from precsearch.onnxio.read import SourceModel, read_model
from precsearch.onnxio.scales import FixedScales, QuantParams
from precsearch.plan import Plan, Recipe, read_plan
from precsearch.space import Assignment, Precision
from precsearch.trial import Accuracy, Latency

__all__ = ["BuildReport", "VerifyReport", "build", "verify"]

_REBUILDS = 3
_MOST_THREADS = 1 << 12
_LEAST_SCALE, _MOST_SCALE = 2.0**-149, float(np.finfo(np.float32).max)
_EDITED = "the plan was edited; restore it or make it again with 'precsearch optimize'"


@dataclass(frozen=True)
class BuildReport:
    """What `build` made.

    Attributes:
        verdict: ``identical``: byte for byte what the plan promises.
        path: The file.
        sha256: Of the file, as hex.
        size: Bytes.
    """

    verdict: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` measured.

    Attributes:
        passed: Within the tolerance, and not slower than FP32 beyond the noise.
        verdict: ``identical``: the model is byte for byte what the plan promises.
        metric: Name of the loss.
        tolerance: The bound on it, in the metric's terms.
        loss: On the data given.
        accuracy: With samples and outputs.
        latency: Relative to FP32 on this machine.
        noise: Relative floor of latency on this machine.
        slower: Whether it is slower than FP32 beyond the noise.
        lines: Sentences for people: what differs from the plan's evidence, warnings.
    """

    passed: bool
    verdict: str
    metric: str
    tolerance: float
    loss: float
    accuracy: Accuracy
    latency: Latency
    noise: float
    slower: bool
    lines: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """Latency relative to FP32."""
        return self.latency.ratio


@dataclass(frozen=True)
class _Materialised:
    plan: Plan
    target: Target
    lowering: Lowering
    lowered: Lowered


def _params(recipe: Recipe, scheme: QuantScheme) -> dict[str, QuantParams]:
    limits = np.iinfo(np.dtype(scheme.activation))
    found: dict[str, QuantParams] = {}
    for row in recipe.scales:
        try:
            scale = float.fromhex(row.scale)
        except (ValueError, OverflowError):
            scale = math.nan
        if not _LEAST_SCALE <= scale <= _MOST_SCALE:
            raise PlanError(
                f"the plan's scale of tensor {row.tensor!r} is {row.scale!r}, not a positive "
                f"hexadecimal float; {_EDITED}"
            )
        if not limits.min <= row.zero_point <= limits.max:
            raise PlanError(
                f"the plan's zero point of tensor {row.tensor!r} is {row.zero_point}, not of "
                f"{scheme.activation}; {_EDITED}"
            )
        if row.tensor in found:
            raise PlanError(f"the plan has two scales for tensor {row.tensor!r}; {_EDITED}")
        found[row.tensor] = QuantParams(scale, row.zero_point)
    return found


def _threads(recipe: Recipe) -> int:
    count = recipe.options.get("threads", 0)
    unknown = sorted(set(recipe.options) - {"threads"})
    if unknown:
        raise PlanError(f"the plan has an unknown build option {unknown[0]!r}; {_EDITED}")
    if not isinstance(count, int) or not 0 <= count <= _MOST_THREADS:
        raise PlanError(f"the plan's number of threads is {count!r}; {_EDITED}")
    return count


def _materialise(plan: Plan, model: Path, threads: int | None) -> _Materialised:
    recipe = plan.recipe
    if recipe.lowering != LOWERING:
        raise ReplayError(
            f"the plan was lowered by {recipe.lowering!r}, this version has {LOWERING!r}; install "
            f"precsearch {plan.evidence.version} or make a new plan"
        )
    source = read_model(model)
    if source.digest != recipe.model_sha256:
        raise ReplayError(
            f"{model.name!r} is not the model that the plan was made for (SHA-256 "
            f"{source.digest[:12]}, the plan has {recipe.model_sha256[:12]}): "
            f"{_unlike(plan, source)}; give the original model or make a new plan"
        )
    made = _lowered(plan, source, threads)
    if made.lowered.sha256 != recipe.materialised_sha256:
        where = _first_difference(recipe, made.target, made.lowered)
        where = where or "inputs, outputs or what no group owns differ"
        raise ReplayError(
            f"the plan does not reproduce: {where}"
            "; compare the versions of onnx, onnx_ir and numpy with those in the plan's evidence"
        )
    return made


def _lowered(plan: Plan, source: SourceModel, threads: int | None) -> _Materialised:
    recipe = plan.recipe
    used = tuple({g.precision for g in recipe.groups} | {Precision.FP32})
    count = _threads(recipe) if threads is None else threads
    target = open_target(source, recipe.backend, used, recipe.granularity, count, recipe.scheme)
    if target.space.digest != recipe.space_sha256:
        unknown = [g.key for g in recipe.groups if g.key not in target.space.by_key]
        where = f" (there is no group {unknown[0]!r} now)" if unknown else ""
        raise ReplayError(
            "this version groups the model's layers differently from the one that made the "
            f"plan{where}; install precsearch {plan.evidence.version} or make a new plan"
        )
    scales = FixedScales(_params(recipe, target.scheme))
    scheme = target.scheme
    lowering = Lowering(target.graph, target.space, scheme, scales, target.int8_float)
    return _Materialised(plan, target, lowering, lowering.lower(recipe.assignment))


def _unlike(plan: Plan, source: SourceModel) -> str:
    """How another model differs from the one that a plan was made for, as far as can be told."""
    try:
        made = _lowered(plan, source, None)
    except (InputError, ReplayError):
        return "its layers are others"
    if made.lowered.sha256 != plan.recipe.materialised_sha256:
        return _first_difference(plan.recipe, made.target, made.lowered)
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


def _model_beside(plan: Path, model: Path | None) -> Path:
    if model is not None:
        return model
    stem = plan.name.removesuffix(".json").removesuffix(".plan")
    guess = plan.parent / f"{stem}.onnx"
    if not guess.is_file():
        raise PlanError(f"name the model with --model: there is no {guess.name!r} beside the plan")
    return guess


def build(
    plan: str | Path, model: str | Path | None, output: str | Path, *, force: bool = False
) -> BuildReport:
    """Materialise a plan's model, byte for byte.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        output: Where to write.
        force: Replace what is there.

    Raises:
        InputError: Plan or model cannot be read, or the output cannot be written.
        ReplayError: The model is another one, or the result differs from what the plan promises.
    """
    plan, output = Path(plan), Path(output)
    source = _model_beside(plan, None if model is None else Path(model))
    check_free([output], force=force, inputs=(plan, source))
    made = _materialise(read_plan(plan), source, None)
    lowered = made.lowered
    copy_weights(made.target.source, output)
    write_bytes(output, lowered.model)
    return BuildReport("identical", output, lowered.sha256, len(lowered.model))


def verify(
    plan: str | Path,
    model: str | Path | None = None,
    data: str | Path | None = None,
    *,
    tol: float | None = None,
    threads: int | None = None,
) -> VerifyReport:
    """Materialise a plan's model and measure it on this machine.

    Args:
        plan: The plan file.
        model: The original model; ``None`` looks for ``<stem>.onnx`` beside the plan.
        data: Samples, all of them are used; ``None`` is random data.
        tol: Another bound than the plan's.
        threads: Another number of threads than the plan's.

    Raises:
        InputError: Plan, model or data cannot be read.
        ReplayError: The model is another one, or the result differs from what the plan promises.
        EngineError: The engine does not run here.
    """
    path = Path(plan)
    source = _model_beside(path, None if model is None else Path(model))
    found = read_plan(path)
    made = _materialise(found, source, threads)
    evidence, target = found.evidence, made.target
    shapes = found.recipe.shapes
    batch = next((s[0] for s in shapes.values() if s), 1)
    sets = shape_sets(evidence.latency)
    config = OptimizeConfig(
        source,
        Path(data) if data is not None else None,
        evidence.tolerance if tol is None else tol,
        evidence.metric,
        batch=1 if sets else max(1, batch),
        shapes=sets,
        seed=evidence.seed,
    )
    inputs = open_inputs(config, target.graph)
    baseline = made.lowering.lower(Assignment())
    engine = candidate(made.lowered)
    with bench_worker() as worker:
        scored = reference_of(target, inputs.data, worker)
        loads = inputs.loads if sets else ()
        worker.restart_with(bench_setup(config, target, baseline, scored, loads))
        where = worker.call("fingerprint")
        noise = worker.call("calibrate_noise")
        accuracy = worker.call("score", engine, scored)
        rows = worker.call("confirm", [engine], _REBUILDS)[0]
    latency = sorted(rows, key=lambda r: r.ratio)[len(rows) // 2]
    slower = latency.ratio_low > 1 + noise
    lines = [*inputs.data.notes, *inputs.notes]
    if inputs.data.random:
        lines.insert(0, "no --data was given: the loss is measured on random numbers")
    lines += _other_place(found, where.device, dict(where.versions), where.features)
    return VerifyReport(
        passed=accuracy.loss <= inputs.bound and not slower,
        verdict="identical",
        metric=evidence.metric,
        tolerance=config.tol,
        loss=accuracy.loss,
        accuracy=accuracy,
        latency=latency,
        noise=noise,
        slower=slower,
        lines=tuple(lines),
    )


def _other_place(
    plan: Plan, device: str, versions: dict[str, str], features: tuple[str, ...]
) -> list[str]:
    """How this machine differs from the one that the plan was measured on."""
    where = plan.evidence.where
    lines = []
    if where.device != device:
        lines.append(f"the plan was measured on {where.device}, this is {device}")
    if tuple(where.features) != tuple(features):
        lines.append(
            f"the plan was measured with {', '.join(where.features) or 'no known CPU features'}, "
            f"this CPU has {', '.join(features) or 'none of them'}"
        )
    lines += [
        f"{name} is {versions.get(name, 'missing')} here, {version} in the plan"
        for name, version in sorted(where.versions.items())
        if versions.get(name) != version
    ]
    return lines
