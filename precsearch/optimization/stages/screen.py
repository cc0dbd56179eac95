"""Screening of a run: once per data, stored in the run directory and reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError, WorkerError
from precsearch.core.formats import FLOAT16, NumberFormat
from precsearch.core.precision import Encoding, Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.executors.client import ReferenceClient
from precsearch.graph.attention import attention_cores
from precsearch.graph.operators import RESAMPLING
from precsearch.graph.work import sized
from precsearch.hazards import hazards, screened_tensors, softmax_axes
from precsearch.hazards.collect import Screening
from precsearch.hazards.statistics import ScreenStatistics, TensorStatistics
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales
from precsearch.setup.files import write_text
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target
from precsearch.system.regular_file import read_regular

__all__ = [
    "Screened",
    "floats_beside_fp32",
    "priors_of",
    "screen_feeds",
    "screened",
    "screened_before",
    "screening_of",
]

_FORMAT = "2"
_MAX_BYTES = 1 << 28
"""Of stored statistics: some hundred bytes a tensor."""

Screened = tuple[tuple[Prior, ...], tuple[str, ...]]
"""The priors, and what the user should know."""


def screened(target: Target, inputs: Inputs, worker: ReferenceClient, run_dir: Path) -> Screened:
    """Priors of a run whose groups may be computed in another float format than FP32.

    Args:
        target: Model and backend.
        inputs: Its data; the calibration part is looked at.
        worker: Serves `precsearch.measurement.service.open_service`.
        run_dir: Where statistics are stored.

    Returns:
        The priors, and what the user should know. Priors are hints: a model that cannot be
        screened is searched without them.
    """
    part = inputs.parts.calibration
    path = _path(target, part.digest, run_dir)
    statistics = _read(path)
    if statistics is None:
        try:
            statistics = screen_feeds(target, part.feeds, worker)
        except (ModelError, WorkerError) as error:
            return priors_of(target, None), (f"searching without hazards of the data: {error}",)
        _write(path, statistics)
    return priors_of(_sized(target, part.feeds[0]), statistics), ()


def screened_before(target: Target, data: str, run_dir: Path) -> tuple[Prior, ...]:
    """Priors from what a run has stored; nothing if it has stored nothing.

    Args:
        target: Model and backend.
        data: Digest of the calibration samples.
        run_dir: Of the run.
    """
    statistics = _read(_path(target, data, run_dir))
    return () if statistics is None else priors_of(target, statistics)


def _sized(target: Target, feed: Feed) -> Target:
    """The target with the shapes of the data where a rule depends on sizes."""
    graph = target.graph
    cores = attention_cores(graph).values() if target.scheme.attention else ()
    open_ended = any(None in (core.head, core.keys) for core in cores)
    if open_ended or any(n.is_op(*RESAMPLING) for n in graph.nodes):
        graph = sized(graph, {name: array.shape for name, array in feed.items()})
    return replace(target, graph=graph)


def screen_feeds(
    target: Target, feeds: Sequence[Feed], worker: ReferenceClient
) -> ScreenStatistics:
    """Statistics of every FP32 tensor over some feeds.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed.
        WorkerError: It crashed or hung on the model.
    """
    return worker.screen(screening_of(target), feeds)


def screening_of(target: Target) -> Screening:
    """What to run to know a model's tensors."""
    scales = RangeScales({}, target.scheme)
    plain = Lowering(target.graph, target.space, target.scheme, scales).lower(Assignment())
    return Screening(
        plain.model,
        target.options.model_folder,
        screened_tensors(target.graph),
        softmax_axes(target.graph),
        others=_others(target),
    )


def _others(target: Target) -> tuple[NumberFormat, ...]:
    """Float formats beside FP16 that groups may be asked for."""
    offered = (p.spec for p in target.space.precisions)
    casts = (row.format for row in offered if row.encoding is Encoding.CAST)
    return tuple(stored_as for stored_as in casts if stored_as != FLOAT16)


def priors_of(target: Target, statistics: ScreenStatistics | None) -> tuple[Prior, ...]:
    """The hazards of a model's groups; without statistics, those of its constants alone."""
    half = _half_around_int8(target)
    return hazards(
        target.graph, target.space, statistics, target.scheme, int8_half=half, form=target.form
    )


def floats_beside_fp32(target: Target) -> tuple[Precision, ...]:
    """The coarser float formats that a group may be computed in, in the order of precisions.

    FP16 is one of them where it surrounds INT8, though no group may be asked for it.
    """
    offered = target.space.precisions
    floats = {p for p in offered if p.spec.encoding is Encoding.CAST}
    if _half_around_int8(target) and set(offered) - floats - {Precision.FP32}:
        floats.add(Precision.FP16)
    return tuple(Precision.ordered(floats))


def _half_around_int8(target: Target) -> bool:
    return target.form.annotated or target.form.float_of(Precision.INT8) is Precision.FP16


def _path(target: Target, data: str, run_dir: Path) -> Path:
    parts = (_FORMAT, target.digest, str(target.graph.opsets.get("", 0)), data)
    others = (stored_as.name for stored_as in _others(target))
    key = hashlib.sha256(" ".join((*parts, *others)).encode()).hexdigest()[:16]
    return run_dir / f"screen-{key}.json"


def _write(path: Path, statistics: ScreenStatistics) -> None:
    tensors = _rows(statistics.tensors)
    others = {name: _rows(rows) for name, rows in sorted(statistics.others.items())}
    peaks = {name: peak.hex() for name, peak in sorted(statistics.peaks.items())}
    stored = {"tensors": tensors, "peaks": peaks, "others": others}
    write_text(path, json.dumps(stored, indent=0), follow=False)


def _rows(tensors: Mapping[str, TensorStatistics]) -> dict[str, list[object]]:
    return {
        name: [row.count, *(float(v).hex() for v in astuple(row)[1:])]
        for name, row in sorted(tensors.items())
    }


def _tensors(stored: Mapping[str, Sequence[Any]]) -> dict[str, TensorStatistics]:
    return {
        name: TensorStatistics(int(count), *(float.fromhex(v) for v in values))
        for name, (count, *values) in stored.items()
    }


def _read(path: Path) -> ScreenStatistics | None:
    """The stored statistics; ``None`` if there are none or they are damaged: they are made anew."""
    try:
        stored = json.loads(read_regular(path, _MAX_BYTES, follow=False))
        tensors = _tensors(stored["tensors"])
        others = {name: _tensors(rows) for name, rows in stored["others"].items()}
        peaks = {name: float.fromhex(peak) for name, peak in stored["peaks"].items()}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    return ScreenStatistics(tensors, peaks, others)
