"""A metric that is the user's own function."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DataError, OptionError
from precsearch.core.trial import Accuracy
from precsearch.metrics.blocks import compared
from precsearch.metrics.mismatches import mismatches, unsound
from precsearch.metrics.protocol import PlainScale
from precsearch.metrics.resample import mean_accuracy
from precsearch.system.user_code import USER_ERRORS, describe, find_function

__all__ = ["Custom"]


@dataclass(frozen=True)
class Custom(PlainScale):
    """``function(outputs, reference, labels)`` gives the loss, or one loss per sample.

    It is called with the sequences of output mappings and the labels that `Metric.score` gets; one
    that takes two arguments is called without the labels. Per-sample losses are averaged.

    Attributes:
        name: ``file.py:function`` without folders, or ``module:function``.
        function: The function.
        sha256: Of the file of its code, as hex.
        arguments: How many the function takes: 2 or 3.
    """

    function: Callable[..., object]
    sha256: str = ""
    needs_labels: bool = False
    discrete: bool = False
    unit: str = ""
    arguments: int = 3

    @classmethod
    def load(cls, where: str, sha256: str = "") -> Custom:
        """From ``module:function`` or ``file.py:function``, as the user wrote it.

        Args:
            where: The function.
            sha256: Digest that the file of its code must have before any of it runs; "" for any.

        Raises:
            OptionError: There is no such function, importing it fails, or it does not take
                (outputs, reference) or (outputs, reference, labels).
            DataError: The file is another one.
        """
        loaded = find_function(where)
        if sha256 and loaded.sha256 != sha256:
            raise DataError(
                f"the metric {loaded.name!r} has changed since the run began (SHA-256 "
                f"{loaded.sha256[:12]}, it was {sha256[:12]}); restore it, or begin anew"
            )
        function = loaded.load()
        arguments = _arguments(function, loaded.name)
        return cls(loaded.name, function, loaded.sha256, arguments=arguments)

    def score(
        self,
        outputs: Sequence[Feed],
        reference: Sequence[Feed],
        labels: Array | None = None,
        *,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Accuracy:
        """See `Metric.score`; the function is not called if a value is NaN or infinite by mistake.

        Outputs of another size than the reference's are passed to it as they are; if it fails on
        them, the loss is infinite.

        Raises:
            DataError: References do not fit the outputs; the function fails or gives no loss.
        """
        names = compared(outputs, reference)
        odd = mismatches(outputs, reference, (1,) * len(outputs), names)
        if unsound(odd):
            return Accuracy(math.inf, math.inf, mismatches=odd)
        try:
            result = self.function(*(outputs, reference, labels)[: self.arguments])
            errors = np.asarray([] if result is None else result, dtype=np.float64)
        except USER_ERRORS as error:
            if odd:  # it compares outputs of one size alone
                return Accuracy(math.inf, math.inf, mismatches=odd)
            raise DataError(f"the metric {self.name!r} failed: {describe(error)}") from error
        if errors.ndim > 1 or errors.size == 0:
            what = f"an array of shape {errors.shape}" if errors.size else "nothing"
            raise DataError(
                f"the metric {self.name!r} returned {what}; return a number, or one number per "
                "sample"
            )
        errors = np.where(np.isfinite(errors), errors, math.inf)
        if errors.ndim == 0:
            return Accuracy(float(errors), float(errors), mismatches=odd)
        return replace(mean_accuracy(errors, np.ones_like(errors), seed), mismatches=odd)


def _arguments(function: Callable[..., object], name: str) -> int:
    """With how many arguments a function can be called: 3, or else 2."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: its signature is not known
        return 3
    for count in (3, 2):
        with suppress(TypeError):
            signature.bind(*range(count))
            return count
    raise OptionError(
        f"the metric {name!r} is called with (outputs, reference, labels), or with the first two, "
        f"but takes {signature}; change its parameters"
    )
