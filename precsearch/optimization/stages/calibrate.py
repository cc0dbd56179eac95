"""Calibration of a run: once per data and method, stored in the run directory and reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from precsearch.calibration.ranges import Calibration
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.executors.client import ReferenceClient
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.rewrites.lift import LIFT, author_ranges
from precsearch.setup.files import write_text
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target
from precsearch.system.regular_file import read_regular

__all__ = ["calibrated", "calibrated_before"]

_MAX_BYTES = 1 << 28
"""Of stored ranges: some dozen bytes a tensor."""


def calibrated(
    target: Target, inputs: Inputs, method: str, worker: ReferenceClient, run_dir: Path
) -> tuple[Target, Lowering, tuple[str, ...]]:
    """Ranges of everything that may be quantized, and the lowering that uses them.

    Args:
        target: Model and backend.
        inputs: Its data.
        method: ``minmax``, ``percentile`` or ``mse``.
        worker: Runs the model.
        run_dir: Where ranges are stored.

    Returns:
        The target with INT8 taken from the groups that cannot have it, the lowering, and a sentence
        for each such group.

    Raises:
        OptionError: The method is unknown.
        ModelError: ONNX Runtime refuses the model.
        WorkerError: It crashed or hung on the model.
    """
    tensors = quantizable(target.graph, target.scheme, target.space)
    path = _path(target, method, inputs.parts.calibration.digest, run_dir)
    ranges = _read(path)
    if ranges is None:
        every = tuple(sorted(frozenset().union(*tensors.values())))
        calibration = _calibration(target, every, method)
        ranges = worker.ranges(calibration, inputs.parts.calibration.feeds)
        _write(path, ranges)
    bad = {key: left for key, needed in tensors.items() if (left := needed - ranges.keys())}
    why: Mapping[str, str] = {}
    if bad:
        odd = _calibration(target, tuple(sorted(frozenset().union(*bad.values()))), method)
        why = worker.oddities(odd, inputs.parts.calibration.feeds)
    return _with_ranges(target, ranges, bad, why)


def calibrated_before(
    target: Target, method: str, data: str, run_dir: Path
) -> tuple[Target, Lowering] | None:
    """`calibrated` from what a run has stored, without its data.

    Args:
        target: Model and backend.
        method: See `calibrated`.
        data: Digest of the calibration samples.
        run_dir: Of the run.

    Returns:
        ``None`` if the run directory does not have these ranges.
    """
    ranges = _read(_path(target, method, data, run_dir))
    if ranges is None:
        return None
    tensors = quantizable(target.graph, target.scheme, target.space)
    bad = {key: left for key, needed in tensors.items() if (left := needed - ranges.keys())}
    target, lowering, _ = _with_ranges(target, ranges, bad, {})
    return target, lowering


def _with_ranges(
    target: Target,
    ranges: Mapping[str, TensorRange],
    bad: Mapping[str, frozenset[str]],
    why: Mapping[str, str],
) -> tuple[Target, Lowering, tuple[str, ...]]:
    space, lost = _prune(target.space, bad, why)
    scales = RangeScales({**ranges, **_of_author(target)}, target.scheme)
    target = replace(target, space=space)
    lowering = Lowering(target.graph, space, target.scheme, scales, target.form)
    return target, lowering, lost


def _of_author(target: Target) -> dict[str, TensorRange]:
    """The ranges of a model that came quantized, where its Q/DQ were taken out of it."""
    if all(name != LIFT for name, _ in target.rewrites):
        return {}
    graph = prepare(read_model(target.source.path), target.form.min_opset)
    return {t: TensorRange(*limits) for t, limits in author_ranges(graph).items()}


def _calibration(target: Target, tensors: tuple[str, ...], method: str) -> Calibration:
    plain = Lowering(target.graph, target.space, target.scheme, RangeScales({}, target.scheme))
    model = plain.lower(Assignment()).model
    return Calibration(model, target.options.model_folder, tensors, method)


def _path(target: Target, method: str, data: str, run_dir: Path) -> Path:
    parts = (target.digest, target.space.digest, method, data)
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    return run_dir / f"ranges-{key}.json"


def _write(path: Path, ranges: Mapping[str, TensorRange]) -> None:
    rows = {t: [r.low.hex(), r.high.hex()] for t, r in sorted(ranges.items())}
    write_text(path, json.dumps(rows, indent=0), follow=False)


def _read(path: Path) -> dict[str, TensorRange] | None:
    """The stored ranges; ``None`` if there are none or they are damaged: they are made again."""
    try:
        rows = json.loads(read_regular(path, _MAX_BYTES, follow=False))
        return {
            t: TensorRange(float.fromhex(low), float.fromhex(high))
            for t, (low, high) in rows.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _prune(
    space: SearchSpace, bad: Mapping[str, frozenset[str]], why: Mapping[str, str]
) -> tuple[SearchSpace, tuple[str, ...]]:
    """Take INT8 from groups with a tensor that has no range.

    Args:
        space: The groups.
        bad: Group → its tensors without a range.
        why: What such a tensor holds instead, in words.
    """
    kept = (
        replace(g, choices=tuple(c for c in g.choices if c is not Precision.INT8))
        if g.key in bad
        else g
        for g in space.groups
    )
    lost = tuple(
        f"group {g.key!r} stays out of INT8: {_held(bad[g.key], why)}"
        for g in space.groups
        if g.key in bad
    )
    return replace(space, groups=tuple(kept)), lost


def _held(tensors: frozenset[str], why: Mapping[str, str]) -> str:
    """The first tensor without a range, and what it holds."""
    tensor = min(tensors)
    return f"tensor {tensor!r} {why.get(tensor, 'has no range')} on the calibration samples"
