"""Samples side by side in one feed.

A pass over small tensors is mostly the starting of kernels, which is shared then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from precsearch.core.backend import Array, Feed

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["alike", "batch_dimension", "same_outputs", "stack", "unstack"]

_CLOSE = 1e-4


def batch_dimension(arguments: Iterable[ort.NodeArg]) -> str | None:
    """The symbolic first dimension that all of these share, ``None`` if they do not."""
    names = set()
    for argument in arguments:
        shape = argument.shape if argument.type.startswith("tensor(") else ()
        name = shape[0] if shape and isinstance(shape[0], str) else ""
        names.add(name if name.strip("?") else None)  # two dimensions called "?" are not one
    return names.pop() if len(names) == 1 else None


def alike(feeds: Sequence[Feed], limit: int) -> list[list[int]]:
    """Positions of feeds in order, at most ``limit`` together, all of the same shapes and types."""

    def kind(position: int) -> list[tuple[str, tuple[int, ...], str]]:
        return sorted((n, np.shape(a), str(a.dtype)) for n, a in feeds[position].items())

    batches = []
    for _, members in groupby(range(len(feeds)), kind):
        positions = list(members)
        batches += [positions[i : i + limit] for i in range(0, len(positions), limit)]
    return batches


def stack(feeds: Sequence[Feed]) -> dict[str, Array]:
    """One feed of several: their rows after one another."""
    return {name: np.concatenate([f[name] for f in feeds]) for name in feeds[0]}


def unstack(outputs: Feed, count: int, rows: int) -> list[dict[str, Array]]:
    """The outputs of each feed that was stacked.

    Args:
        outputs: Output name → array ``[rows, ...]``.
        count: How many feeds were stacked.
        rows: Rows of all of them together.

    Raises:
        ValueError: An output has another number of rows: how many depends on data, and whose they
            are cannot be told.
    """
    for name, array in outputs.items():
        if len(array) != rows:
            raise ValueError(f"output {name!r} has {len(array)} rows for {rows} that went in")
    parts = {n: np.split(np.asarray(a), count) for n, a in outputs.items()}
    return [{n: p[i] for n, p in parts.items()} for i in range(count)]


def same_outputs(outputs: Sequence[Feed], reference: Sequence[Feed]) -> bool:
    """Whether outputs agree but for the order in which sums were added up."""
    return all(
        f[n].shape == w[n].shape and _near(np.asarray(f[n]), np.asarray(w[n]))
        for f, w in zip(outputs, reference, strict=True)
        for n in w
    )


def _near(value: Array, reference: Array) -> bool:
    if reference.dtype.kind != "f":
        return bool(np.array_equal(value, reference))
    peak = float(np.max(np.abs(reference), initial=0.0, where=np.isfinite(reference)))
    return bool(np.allclose(value, reference, rtol=_CLOSE, atol=_CLOSE * peak, equal_nan=True))
