"""The same samples in batches of another size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.data.check import frozen
from precsearch.data.dataset import Dataset
from precsearch.data.spec import InputSpec, batch_axis

__all__ = ["rebatched"]


def rebatched(data: Dataset, specs: Sequence[InputSpec], most: int) -> Dataset | None:
    """Samples of some data in batches that specs with fixed shapes ask for.

    Samples are repeated where there are fewer than one batch: an engine that is right at one batch
    and wrong at another is so for any samples.

    Args:
        data: Feeds whose inputs all lead with the batch.
        specs: The inputs; the first dimension of each is the batch wanted, and a number.
        most: Feeds at most, from all over the data.

    Returns:
        The feeds with their labels, and with the user's references where these lead with the batch;
        ``None`` if more than the batch would have to change.
    """
    batches = {s.dims[0] if s.dims else None for s in specs}
    size = batches.pop() if len(batches) == 1 else None
    if not isinstance(size, int) or size < 1 or batch_axis(specs).offender is not None:
        return None
    inner = [{k: a.shape[1:] for k, a in feed.items()} for feed in data.feeds]
    if any(shapes != inner[0] for shapes in inner):
        return None
    if not all(s.fits((size, *inner[0][s.name])) for s in specs):
        return None
    if any(len(a) != n for f, n in zip(data.feeds, data.sizes, strict=True) for a in f.values()):
        return None
    total = data.samples
    count = max(1, min(most, total // size))
    rows = np.arange(count * size) * max(1, total // (count * size)) % total
    taken = [rows[i * size : (i + 1) * size] for i in range(count)]
    references = None if data.references is None else _joined(data.references, data.sizes)
    labels = data.flat_labels
    return Dataset(
        feeds=_cut(_joined(data.feeds, data.sizes) or {}, taken),
        sizes=(size,) * count,
        labels=None if labels is None else tuple(frozen(labels[r]) for r in taken),
        references=None if references is None else _cut(references, taken),
        random=data.random,
    )


def _joined(feeds: Sequence[Feed], sizes: Sequence[int]) -> dict[str, Array] | None:
    """All rows of each array; ``None`` if one lacks the batch or differs beyond it."""
    if any(a.shape[:1] != (n,) for f, n in zip(feeds, sizes, strict=True) for a in f.values()):
        return None
    if len({tuple((k, a.shape[1:]) for k, a in sorted(f.items())) for f in feeds}) != 1:
        return None
    return {k: np.concatenate([f[k] for f in feeds]) for k in feeds[0]}


def _cut(rows: Feed, taken: Sequence[Array]) -> tuple[Feed, ...]:
    return tuple({k: frozen(a[r]) for k, a in rows.items()} for r in taken)
