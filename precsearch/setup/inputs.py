"""A run's data: what is calibrated with, searched with, held out and timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from precsearch.calibration.ranges import check_method
from precsearch.core.backend import Feed
from precsearch.core.errors import DataError
from precsearch.data import Dataset, InputSpec, Parts, input_specs
from precsearch.graph.view import GraphView
from precsearch.grouping.undecided import hidden_layers
from precsearch.measurement.timing.latency import Load
from precsearch.metrics import Metric, PerOutput, metric, resolution
from precsearch.setup.config import DataConfig
from precsearch.setup.shapes import (
    SetData,
    ShapeSet,
    ShapeTable,
    Timed,
    in_terms_of_sets,
    open_data,
    set_data,
    shape_table,
    timed_again,
    timed_feeds,
    timed_sets,
)
from precsearch.setup.unsearched import unsearched

__all__ = ["Inputs", "open_inputs"]


@dataclass(frozen=True)
class Inputs:
    """A run's data.

    Attributes:
        data: Samples to calibrate and search with.
        parts: How they are split.
        metric: The loss.
        bound: The user's tolerance as a bound on the loss.
        loads: What is timed.
        notes: What the user should know of that.
        specs: The model's inputs.
        sets: Sets of input shapes that the user named.
        seed: Of random numbers.
        preprocess: How pictures or sounds became samples, "" where there are none.
        also: Other metrics, that engines are scored by for other runs.
    """

    data: Dataset
    parts: Parts
    metric: Metric
    bound: float
    loads: tuple[Load, ...]
    notes: tuple[str, ...] = ()
    specs: tuple[InputSpec, ...] = ()
    sets: tuple[ShapeSet, ...] = ()
    seed: int = 0
    preprocess: str = ""
    also: tuple[Metric, ...] = ()

    def beside(self, part: Dataset) -> tuple[SetData, ...]:
        """What engines are scored on beside a part of the data: its samples at other shapes."""
        sets = (set_data(one, part, self.specs, self.seed)[0] for one in self.sets)
        return tuple(one for one in sets if one.judged)

    def warnings(self, tolerance: float) -> tuple[str, ...]:
        """What the user should know before the search."""
        warnings = [*self.data.notes, *self.parts.notes, *self.notes]
        if self.data.random:
            warnings.insert(
                0,
                "no --data was given: losses are measured on random numbers and say little about "
                "real inputs",
            )
        step = resolution(self.metric, self.parts.search.samples)
        if step > tolerance:
            warnings.append(
                f"{self.parts.search.samples} samples resolve {self.metric.name} in steps of "
                f"{step:.2g}, coarser than the tolerance {tolerance:g}: give more samples"
            )
        return tuple(warnings)

    @property
    def shapes(self) -> ShapeTable:
        """The sets of input shapes that an engine will meet, those of the data first."""
        timed = (feed for load in self.loads for feed in load.feeds)
        return shape_table((*self.data.feeds, *self._held_out(), *timed))

    def _held_out(self) -> Sequence[Feed]:
        return () if self.parts.holdout is None else self.parts.holdout.feeds

    def facts(self) -> dict[str, str | int | bool]:
        """What the plan says about the data."""
        holdout = self.parts.holdout
        return {
            "digest": self.data.digest,
            "random": self.data.random,
            "calibration_samples": sum(self.parts.calibration.sizes),
            "search_samples": sum(self.parts.search.sizes),
            "holdout_samples": sum(holdout.sizes) if holdout is not None else 0,
            "holdout": "none" if holdout is None else holdout.digest,
            **({"preprocess": self.preprocess} if self.preprocess else {}),
        }


def open_inputs(
    config: DataConfig,
    graph: GraphView,
    timed_at: Mapping[str, tuple[int, ...]] | None = None,
) -> Inputs:
    """Read and split the data.

    Args:
        config: What was asked.
        graph: The prepared model.
        timed_at: The shapes that a plan was timed at, which is timed again; ``None`` for a search.

    Raises:
        DataError: A source does not fit the model.
        OptionError: The metric is unknown or lacks what it needs.
    """
    check_method(config.calibration_method)
    specs: tuple[InputSpec, ...] = input_specs(graph.inputs)
    outputs = tuple(o.name for o in graph.outputs)

    def opened(path: Path | None) -> Dataset:
        return open_data(
            path,
            specs,
            batch=config.batch,
            shapes=config.data_shapes,
            seed=config.seed,
            outputs=outputs,
            preprocess=config.preprocess if path is not None else "",
        )

    with in_terms_of_sets() if config.shapes else nullcontext():
        data = opened(config.data)
        holdout = opened(config.holdout) if config.holdout else None
        calibration = opened(config.calibration) if config.calibration else None
    parts = data.split(holdout=holdout, calibration=calibration, seed=config.seed)
    named = (config.metric, *config.other_metrics)
    measure, *others = (_metric(asked, parts, outputs) for asked in named)
    if timed_at is None or config.shapes:
        timed = _timed(config, parts.search, specs)
    else:
        timed = timed_again(data, specs, timed_at)
    notes, sets = (*unsearched(hidden_layers(graph)), *timed.notes), tuple(config.shapes)
    bound = measure.bound(config.tol)
    return Inputs(
        *(data, parts, measure, bound, timed.loads, notes, specs, sets),
        seed=config.seed,
        preprocess=config.preprocess,
        also=tuple(others),
    )


def _metric(asked: str, parts: Parts, outputs: tuple[str, ...]) -> Metric:
    """A metric by name, which has what it needs."""
    measure = metric(asked)
    _check_labels(measure, asked, parts)
    if isinstance(measure, PerOutput):
        measure.check(outputs)
    return measure


def _check_labels(measure: Metric, asked: str, parts: Parts) -> None:
    for name, part in (("data", parts.search), ("holdout", parts.holdout)):
        if measure.needs_labels and part is not None and part.labels is None:
            raise DataError(
                f"the metric {asked!r} needs labels, which the {name} lacks: store them "
                "under the key 'labels', or choose another --metric"
            )


def _timed(config: DataConfig, part: Dataset, specs: tuple[InputSpec, ...]) -> Timed:
    if not config.shapes:
        return timed_feeds(part, specs, config.input_shapes)
    with in_terms_of_sets():
        return timed_sets(config.shapes, part, specs, config.seed)
