"""The outputs that are wanted: the model's own in FP32, or those that the user gave, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError, ModelError
from precsearch.data import Dataset
from precsearch.executors.client import ReferenceClient
from precsearch.formatting import many
from precsearch.measurement.config import ReferenceSplit
from precsearch.metrics.degenerate import degenerate
from precsearch.setup.inputs import Inputs
from precsearch.setup.shapes import SetData
from precsearch.setup.target import Target

__all__ = ["check_comparable", "check_holdout", "holdout_of", "reference_of"]

_LOOKED_AT = 8
"""Feeds on which references that the user gave are compared with the model's own outputs."""


def reference_of(
    target: Target, part: Dataset, worker: ReferenceClient, beside: Sequence[SetData] = ()
) -> ReferenceSplit:
    """A part of the data with the outputs that are wanted on it.

    Args:
        target: The model.
        part: The samples.
        worker: Runs the model.
        beside: What engines are scored on beside them, at other input shapes.

    Raises:
        DataError: References that the user gave do not fit the model, or an input holds NaN and so
            does an output.
        ModelError: ONNX Runtime refuses the model.
        WorkerError: It crashed or hung on the model.
    """
    also = tuple(
        ReferenceSplit(one.data, _wanted(target, one.data, worker), name=one.name) for one in beside
    )
    return ReferenceSplit(part, _wanted(target, part, worker), also=also)


def check_comparable(scored: ReferenceSplit) -> tuple[str, ...]:
    """What the user should know of what is compared.

    Raises:
        DataError: There is nothing to compare at all.
    """
    degenerate_outputs = degenerate(scored.data.feeds, scored.reference)
    if degenerate_outputs.nothing:
        raise DataError(
            f"nothing can be compared: {degenerate_outputs.nothing}; give samples for which the "
            "model answers"
        )
    return degenerate_outputs.notes


def check_holdout(target: Target, part: Dataset, worker: ReferenceClient) -> None:
    """Refuse a holdout that would be refused after the search, before it; no loss is looked at.

    Raises:
        DataError: See `reference_of`.
        ModelError: ONNX Runtime refuses the model.
        WorkerError: It crashed or hung on the model.
    """
    odd = [i for i, feed in enumerate(part.feeds) if any(True for _ in _inputs_of_nan(feed))]
    if part.references is not None:
        odd = sorted({*odd, *range(min(_LOOKED_AT, len(part)))})
    if odd:
        _wanted(target, part.take(odd), worker)


def _wanted(target: Target, part: Dataset, worker: ReferenceClient) -> tuple[Feed, ...]:
    given = part.references
    if given is None:
        outputs = _own(target, part.feeds, worker)
        _check_nan(part.feeds, outputs)
        return outputs
    looked = list(range(min(_LOOKED_AT, len(part))))
    looked += [i for i, r in enumerate(given) if i >= _LOOKED_AT and _has_nan(r)][:_LOOKED_AT]
    try:
        own = _own(target, [part.feeds[i] for i in looked], worker)
    except ModelError:  # it may be why the user gave references
        return tuple(given)
    _check_given([given[i] for i in looked], own)
    return tuple(given)


def _own(target: Target, feeds: Sequence[Feed], worker: ReferenceClient) -> tuple[Feed, ...]:
    return worker.outputs(feeds, target.reference_model)


def _check_nan(feeds: Sequence[Feed], outputs: Sequence[Feed]) -> None:
    """NaN in an input is the user's affair as long as the model copes with it."""
    hit: list[tuple[str, str]] = []
    for feed, values in zip(feeds, outputs, strict=True):
        source = next(_inputs_of_nan(feed), None)
        passed_on = (
            None if source is None else next((n for n, a in values.items() if _nan(a)), None)
        )
        if source is not None and passed_on is not None:
            hit.append((source, passed_on))
    if hit:
        source, passed_on = hit[0]
        raise DataError(
            f"input {source!r} holds NaN in {many(len(hit), 'feed')}, and so does the model's "
            f"output {passed_on!r}; remove such samples"
        )


def holdout_of(
    target: Target, inputs: Inputs, worker: ReferenceClient
) -> Callable[[], ReferenceSplit | None]:
    """FP32's outputs for the holdout, computed when they are first asked for; ``None``: none is."""
    part = inputs.parts.holdout

    @cache
    def holdout() -> ReferenceSplit | None:
        if part is None:
            return None
        return reference_of(target, part, worker, inputs.beside(part))

    return holdout


def _check_given(given: Sequence[Feed], own: Sequence[Feed]) -> None:
    """Whether references can be outputs of this model."""
    for name in given[0]:
        pairs = [
            (np.asarray(a[name]), np.asarray(b[name])) for a, b in zip(given, own, strict=True)
        ]
        # One output of another size may be what depends on data; no single one that fits is not.
        if all(a.shape != b.shape for a, b in pairs):
            wrong, right = pairs[0]
            raise DataError(
                f"the reference '__ref__{name}' does not fit: it has shape {wrong.shape} where the "
                f"model's own output has {right.shape}; save the outputs of this model"
            )
        if any(_nan(a) and not _nan(b) for a, b in pairs):
            raise DataError(
                f"the reference '__ref__{name}' does not fit: it holds NaN where the model's own "
                "output holds none; save the outputs of this model"
            )


def _inputs_of_nan(feed: Feed) -> Iterator[str]:
    return (name for name, array in feed.items() if _nan(array))


def _has_nan(feed: Feed) -> bool:
    return any(map(_nan, feed.values()))


def _nan(array: Array) -> bool:
    array = np.asarray(array)
    if array.dtype.kind == "V":
        array = array.astype(np.float64)
    return array.dtype.kind in "fc" and bool(np.isnan(array).any())
