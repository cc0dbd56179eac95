"""Engines of one model in several assignments and options, scored and timed in the same rounds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.gpu.ort_models import Story
from precsearch.api import OptimizeConfig
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.errors import EngineError, PrecsearchError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.core.trial import Accuracy, Latency
from precsearch.executors.open import worker_here
from precsearch.executors.references import reference_of
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowered, Lowering
from precsearch.measurement.config import ReferenceSplit
from precsearch.measurement.scoring import Scorer
from precsearch.measurement.timing.latency import Load, TimingOptions, head_to_head
from precsearch.optimization.stages.calibrate import calibrated
from precsearch.registry import backend_factory
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import Target, open_target

STRICT, TF32 = {"use_tf32": "false"}, {"use_tf32": "true"}
TIMING = TimingOptions(rounds=40, round_seconds=0.02, warmup=10)


@dataclass(frozen=True)
class Prepared:
    """A model ready to be lowered in any assignment."""

    target: Target
    lowering: Lowering
    split: ReferenceSplit
    loads: tuple[Load, ...]
    metric: str

    def uniform(self, precision: Precision) -> Assignment:
        """As many groups as can be, in one precision."""
        return self.target.space.uniform(precision)

    def lowered(self, assignment: Assignment) -> Lowered:
        """A lowered model."""
        return self.lowering.lower(assignment)


@dataclass
class Engine:
    """One engine as it was measured."""

    name: str
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    warnings: tuple[str, ...] = ()
    failed: str = ""

    def row(self, tol: float) -> dict[str, Any]:
        """In numbers."""
        found: dict[str, Any] = {"engine": self.name, "failed": self.failed}
        if self.accuracy is not None:
            loss = self.accuracy.loss
            found |= {"loss": loss, "passes": loss <= tol}
        if self.latency is not None:
            t = self.latency
            found |= {"ms": t.seconds * 1e3, "low": t.low * 1e3, "high": t.high * 1e3}
            found |= {"ratio": t.ratio, "ratio_low": t.ratio_low, "ratio_high": t.ratio_high}
        return {**found, "warnings": list(self.warnings)}


def config_of(story: Story, backend: str, work: Path, **options: Any) -> OptimizeConfig:  # noqa: ANN401
    """What a user would ask for."""
    stem = story.name.replace(",", "").replace(" ", "_")
    config = OptimizeConfig(
        story.model,
        story.data,
        story.tol,
        backend=backend,
        output=work / f"{stem}.plan.json",
        run_dir=work / f"{stem}.run",
        force=True,
        **{**story.options, **options},
    )
    config.run_path.mkdir(parents=True, exist_ok=True)
    return config


def prepared(config: OptimizeConfig, precisions: tuple[Precision, ...] | None = None) -> Prepared:
    """Read the model and run the reference."""
    source = read_model(config.model)
    target = open_target(source, config.backend, precisions, "group", 0)
    inputs = open_inputs(config, target.graph)
    with worker_here(target.source, target.facts) as runner:
        scored = reference_of(target, inputs.parts.search, runner)
        with tempfile.TemporaryDirectory() as folder:
            target, lowering, _ = calibrated(target, inputs, "minmax", runner, Path(folder))
    loads = inputs.loads or (Load(scored.data.feeds),)
    return Prepared(target, lowering, scored, loads, config.metric)


def paired(engine: Engine, other: Engine) -> tuple[float, float, float]:
    """Time relative to another engine of the same rounds: median and bootstrap 95 % interval."""
    assert engine.latency is not None
    assert other.latency is not None
    ratios = np.asarray(engine.latency.samples) / np.asarray(other.latency.samples)
    drawn = np.random.default_rng(0).choice(ratios, (400, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)


def measured(
    ready: Prepared,
    backend: str,
    wanted: Mapping[str, tuple[Assignment | bytes, Mapping[str, str]]],
    timing: TimingOptions = TIMING,
) -> list[Engine]:
    """Score engines and time them in the same rounds; the first is what ratios refer to.

    Args:
        ready: The model.
        backend: Its name.
        wanted: Name → assignment or lowered model, and build options.
        timing: How long.
    """
    scorer, made, opened = Scorer(ready.metric, ""), [], []
    for name, (asked, build) in wanted.items():
        engine = Engine(name)
        made.append(engine)
        options = replace(BackendOptions(), build=dict(build))
        one = backend_factory(backend)(options)
        model = asked if isinstance(asked, bytes) else ready.lowered(asked).model
        artifact = one.build(model)
        try:
            session = one.open(artifact)
            engine.accuracy = scorer.of(session, ready.split)
            session.time(ready.loads[0].feeds[0], 3)
        except (EngineError, PrecsearchError, MemoryError) as error:
            engine.failed = f"{type(error).__name__}: {error}"
        else:
            engine.warnings = one.warnings(artifact)
            opened.append((engine, session))
    if opened:
        sessions = [session for _, session in opened]
        rows = head_to_head(sessions, sessions[0], ready.loads, timing)
        for (engine, session), latency in zip(opened, rows, strict=True):
            engine.latency = latency
            session.close()
    return made


def whole(story: Story, ready: Prepared) -> Feed:
    """What the search saw as one feed, as far as the model's batch is open; else its first feed."""
    feeds = ready.split.data.feeds
    model = onnx.load(str(story.model), load_external_data=False)
    dims = [i.type.tensor_type.shape.dim for i in model.graph.input]
    if all(d and not d[0].HasField("dim_value") for d in dims):
        return {name: np.concatenate([f[name] for f in feeds]) for name in feeds[0]}
    return feeds[0]
