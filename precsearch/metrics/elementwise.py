"""Losses that compare element by element: rel-l2, rel-l2-max, max-abs, cosine, sqnr and psnr."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.trial import Accuracy, Aggregation
from precsearch.metrics.blocks import Block, blocks, compared, splits, unequal
from precsearch.metrics.mismatches import is_float, mismatches
from precsearch.metrics.protocol import checked_tolerance
from precsearch.metrics.resample import Floats, aggregate, upper

__all__ = ["COSINE", "MAX_ABS", "PSNR", "REL_L2", "REL_L2_MAX", "SQNR", "Elementwise"]

_FLOOR = 1e-3
"""A sample's norm counts as at least this share of the root mean square of all samples' norms."""
_TINY = 1e-12
"""The least magnitude per element that anything is divided by."""


class _Losses(NamedTuple):
    """Loss and weight per sample, ``[samples]`` each."""

    errors: Floats
    weights: Floats


@dataclass(frozen=True)
class Elementwise:
    """A loss made of numbers measured on each sample of a float output.

    Integer and boolean outputs count the share of unequal elements instead. The worst output's
    loss is the loss.

    Attributes:
        name: What the user calls it.
        aggregation: How samples combine.
        measure: ``[samples, k]`` numbers of a block of samples.
        finish: The losses of all samples from all of those numbers.
        decibel: Whether the user gives a floor in dB: the loss is ``10 ** (-dB / 20)``.
    """

    name: str
    aggregation: Aggregation
    measure: Callable[[Block], Floats]
    finish: Callable[[Floats], _Losses]
    decibel: bool = False
    needs_labels: bool = False
    discrete: bool = False

    @property
    def unit(self) -> str:
        """``dB`` or nothing."""
        return "dB" if self.decibel else ""

    def score(
        self,
        outputs: Sequence[Feed],
        reference: Sequence[Feed],
        labels: Array | None = None,
        *,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Accuracy:
        """See `Metric.score`; labels are not looked at.

        Raises:
            DataError: References do not fit the outputs.
        """
        names = compared(outputs, reference)
        rows = splits(outputs, names, sizes)
        by_output: dict[str, float] = {}
        worst: tuple[float, _Losses, Aggregation] | None = None
        above = -math.inf
        # Outputs that are finite and of one size get no second look.
        odd = [n for n in names if _resized(outputs, reference, n)]
        for name in names:
            losses, aggregation = self._output(outputs, reference, rows, name)
            loss = by_output[name] = aggregate(*losses, aggregation)
            above = max(above, upper(*losses, aggregation, loss, seed))
            if not math.isfinite(loss) and name not in odd:
                odd.append(name)
            if worst is None or loss > worst[0]:
                worst = (loss, losses, aggregation)
        assert worst is not None, "compared() gives at least one name"
        _, losses, aggregation = worst
        return Accuracy(
            loss=worst[0],
            upper=above,
            by_output=by_output,
            per_sample=tuple(losses.errors.tolist()),
            weights=tuple(losses.weights.tolist()),
            aggregation=aggregation,
            mismatches=mismatches(outputs, reference, rows, odd) if odd else (),
        )

    def _output(
        self, outputs: Sequence[Feed], reference: Sequence[Feed], rows: Sequence[int], name: str
    ) -> tuple[_Losses, Aggregation]:
        if not is_float(np.asarray(reference[0][name])):
            # Shares add up over elements as a mean; only a maximum stays one.
            worst = self.aggregation is Aggregation.MAX
            return (
                _Losses(*unequal(outputs, reference, rows, name)),
                Aggregation.MAX if worst else Aggregation.MEAN,
            )
        parts = list(blocks(outputs, reference, rows, name))
        with np.errstate(over="ignore", invalid="ignore"):
            errors, weights = self.finish(np.concatenate([self.measure(b) for b in parts]))
        bad = np.concatenate([b.bad for b in parts]) | np.isnan(errors)
        return _Losses(np.where(bad, math.inf, errors), weights), self.aggregation

    def bound(self, tolerance: float) -> float:
        """See `Metric.bound`: in dB, the loss of that many decibels.

        Raises:
            OptionError: ``tolerance`` is negative or no number.
        """
        checked_tolerance(tolerance, self.name)
        return float(10 ** (-tolerance / 20)) if self.decibel else tolerance

    def display(self, loss: float) -> float:
        """See `Metric.display`; no loss at all is infinitely many decibels."""
        if not self.decibel:
            return loss
        return -20 * math.log10(loss) if loss > 0 else math.inf


def _resized(outputs: Sequence[Feed], reference: Sequence[Feed], name: str) -> bool:
    """Whether an output has another shape than its reference in any feed."""
    pairs = zip(outputs, reference, strict=True)
    return any(np.shape(o[name]) != np.shape(r[name]) for o, r in pairs)


def _norm(rows: Floats) -> Floats:
    """Euclidean norm per row, safe from overflow and underflow of the squares."""
    scale = np.abs(rows).max(axis=1)
    scale[scale == 0] = 1
    unit = rows / scale[:, None]
    norm: Floats = scale * np.sqrt(np.einsum("ij,ij->i", unit, unit))
    return norm


def _relative(block: Block) -> Floats:
    norms = [_norm(block.values - block.reference), _norm(block.reference)]
    return np.stack([*norms, np.full(len(norms[0]), block.values.shape[1])], axis=1)


def _over_reference(measured: Floats) -> _Losses:
    """Norm of the difference over that of the reference, weighted by the latter's square."""
    difference, norm, count = measured.T
    typical = np.sqrt(np.mean(norm**2))
    floored = np.maximum(norm, np.maximum(_FLOOR * typical, _TINY * np.sqrt(count)))
    return _Losses(difference / floored, floored**2)


def _unweighted(finish: Callable[[Floats], _Losses]) -> Callable[[Floats], _Losses]:
    def plain(measured: Floats) -> _Losses:
        errors = finish(measured).errors
        return _Losses(errors, np.ones_like(errors))

    return plain


def _largest(block: Block) -> Floats:
    largest: Floats = np.abs(block.values - block.reference).max(axis=1, keepdims=True)
    return largest


def _angle(block: Block) -> Floats:
    """1 - cos as half the squared distance of the unit vectors, which keeps its digits near 0."""
    a, b = _norm(block.values), _norm(block.reference)
    unit_a = block.values / np.where(a == 0, 1, a)[:, None]
    unit_b = block.reference / np.where(b == 0, 1, b)[:, None]
    distance = unit_a - unit_b
    loss = np.einsum("ij,ij->i", distance, distance) / 2
    # Beside a zero vector there is no angle: fine if both are zero, otherwise like a right angle.
    return np.where((a == 0) ^ (b == 0), 1.0, loss)[:, None]


def _first(measured: Floats) -> _Losses:
    return _Losses(measured[:, 0], np.ones(len(measured)))


def _noise(block: Block) -> Floats:
    reference = block.reference
    count = np.full(len(reference), reference.shape[1])
    norm = _norm(block.values - reference)
    return np.stack([norm, count, reference.min(axis=1), reference.max(axis=1)], axis=1)


def _over_peak(measured: Floats) -> _Losses:
    """Root mean square difference over the range of the reference; its magnitude if constant."""
    norm, count, low, high = measured.T
    peak = high.max() - low.min()
    if peak == 0:
        peak = max(abs(high.max()), _TINY)
    return _Losses(norm / np.sqrt(count) / peak, count)


REL_L2 = Elementwise("rel-l2", Aggregation.RMS, _relative, _over_reference)
REL_L2_MAX = Elementwise("rel-l2-max", Aggregation.MAX, _relative, _unweighted(_over_reference))
MAX_ABS = Elementwise("max-abs", Aggregation.MAX, _largest, _first)
COSINE = Elementwise("cosine", Aggregation.MEAN, _angle, _first)
SQNR = Elementwise("sqnr", Aggregation.RMS, _relative, _over_reference, decibel=True)
PSNR = Elementwise("psnr", Aggregation.RMS, _noise, _over_peak, decibel=True)
