"""Why a tensor has no range: what it holds instead of numbers, told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from precsearch.calibration.ranges import Calibration
from precsearch.core.backend import Array, Feed
from precsearch.core.errors import ModelError
from precsearch.hazards.collect import with_outputs
from precsearch.reference.session import first_line, open_reference, ort_errors

__all__ = ["oddities"]

_AT_ONCE = 8
"""Tensors read in one pass: few have no range, and each may be large."""


def oddities(calibration: Calibration, feeds: Sequence[Feed]) -> dict[str, str]:
    """What each tensor of a calibration holds beside finite numbers, as half a sentence.

    Args:
        calibration: Its tensors have no range.
        feeds: Input name → array, a mapping a feed.

    Raises:
        ModelError: ONNX Runtime refuses the model or a feed.
    """
    odd: dict[str, str] = {}
    for start in range(0, len(calibration.tensors), _AT_ONCE):
        names = calibration.tensors[start : start + _AT_ONCE]
        odd.update(_of(calibration, names, feeds))
    return odd


def _of(calibration: Calibration, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, str]:
    nan, infinite, size = (dict.fromkeys(names, 0) for _ in range(3))
    inner = [n for n in names if n not in feeds[0]]
    for feed, values in zip(feeds, _values(calibration, inner, feeds), strict=True):
        for name in names:
            array = np.asarray(values.get(name, feed.get(name)))
            nan[name] += int(np.isnan(array).any())
            infinite[name] += int(np.isinf(array).any())
            size[name] += array.size
    return {n: _said(nan[n], infinite[n], size[n]) for n in names}


def _values(
    calibration: Calibration, names: Sequence[str], feeds: Sequence[Feed]
) -> Iterator[dict[str, Array]]:
    """These tensors of each feed; inputs are not among them."""
    if not names:
        yield from ({} for _ in feeds)
        return
    try:
        session = open_reference(with_outputs(calibration.model, names), calibration.model_folder)
        inputs = {i.name for i in session.get_inputs()}
        for feed in feeds:
            values = session.run(names, {k: v for k, v in feed.items() if k in inputs})
            yield dict(zip(names, values, strict=True))
    except ort_errors() as error:
        raise ModelError(f"calibration failed: {first_line(error)}") from error


def _said(nan: int, infinite: int, size: int) -> str:
    if not size:
        return "has no elements"
    kinds = [*(["NaN"] if nan else []), *(["infinite values"] if infinite else [])]
    return f"holds {' and '.join(kinds)}" if kinds else "has samples without elements"
