"""A bound for each output, as one loss: the largest share of its own bound that an output uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import OptionError
from precsearch.core.trial import Accuracy
from precsearch.metrics.elementwise import Elementwise
from precsearch.metrics.protocol import Metric, PlainScale

__all__ = ["REST", "PerOutput", "per_output_name", "per_output_of"]

REST = "*"
"""Stands for the outputs that are not named."""


@dataclass(frozen=True)
class PerOutput(PlainScale):
    """``NAME[output=tolerance,…]``: its bound is 1, whatever the outputs' bounds are.

    Attributes:
        name: As above.
        base: Compares one output.
        tolerances: Output → tolerance in the base's terms; `REST` for those that are not named.
    """

    base: Metric
    tolerances: Mapping[str, float] = field(default_factory=dict)
    needs_labels: bool = False
    discrete: bool = False
    unit: str = ""

    def check(self, outputs: Collection[str]) -> None:
        """Whether each output has a bound, and each bound an output.

        Raises:
            OptionError: One has not.
        """
        unknown = [repr(n) for n in self.tolerances if n not in (*outputs, REST)]
        if unknown:
            raise OptionError(
                f"--tol bounds {', '.join(unknown)}, but the model's outputs are "
                f"{', '.join(map(repr, outputs))}; use their names"
            )
        left = [repr(n) for n in outputs if n not in self.tolerances]
        if left and REST not in self.tolerances:
            raise OptionError(
                f"--tol leaves the output {', '.join(left)} without a bound; name a bound for it, "
                "or one number for all that are not named, as in 1e-2,boxes=3e-2"
            )

    def score(
        self,
        outputs: Sequence[Feed],
        reference: Sequence[Feed],
        labels: Array | None = None,
        *,
        sizes: Sequence[int] | None = None,
        seed: int = 0,
    ) -> Accuracy:
        """See `Metric.score`: losses are shares of the bounds, samples those of the worst output.

        Raises:
            DataError: References do not fit the outputs.
            OptionError: See `check`.
        """
        self.check(tuple(reference[0]))
        scores: list[Accuracy] = []
        for name in reference[0]:
            bound = self.base.bound(self.tolerances.get(name, self.tolerances.get(REST, 0.0)))
            values = [{name: f[name]} for f in outputs if name in f]
            expected = [{name: f[name]} for f in reference]
            one = self.base.score(values, expected, labels, sizes=sizes, seed=seed)
            scores.append(_shared(one, bound))
        worst = max(scores, key=lambda a: a.loss)
        return replace(
            worst,
            upper=max(a.upper for a in scores),
            by_output={k: v for a in scores for k, v in a.by_output.items()},
            mismatches=tuple(m for a in scores for m in a.mismatches),
        )


def _shared(accuracy: Accuracy, bound: float) -> Accuracy:
    """A loss in units of its bound."""

    def share(loss: float) -> float:
        return loss / bound if bound > 0 else 0.0 if loss <= 0 else float("inf")

    return replace(
        accuracy,
        loss=share(accuracy.loss),
        upper=share(accuracy.upper),
        by_output={name: share(loss) for name, loss in accuracy.by_output.items()},
        per_sample=tuple(map(share, accuracy.per_sample)),
    )


def per_output_name(metric: str, tolerances: Mapping[str, float]) -> str:
    """The name of the metric that bounds each output by itself.

    Raises:
        OptionError: There are no bounds, or an output's name cannot be written into a name.
    """
    odd = [name for name in tolerances if set(name) & set(",[]=")]
    if odd or not tolerances:
        raise OptionError(
            f"bounds of single outputs take names without commas, brackets and '=', not {odd!r}; "
            "rename the output"
        )
    inner = ",".join(f"{name}={value:g}" for name, value in sorted(tolerances.items()))
    return f"{metric}[{inner}]"


def per_output_of(name: str, base: Metric | None, inner: str) -> PerOutput:
    """The metric of a name that `per_output_name` made.

    Args:
        name: The whole name.
        base: What stands before the bracket, ``None`` if there is no such metric.
        inner: What is inside of it.

    Raises:
        OptionError: It was made of something else.
    """
    if not isinstance(base, Elementwise):
        raise OptionError(
            f"bounds of single outputs need a metric that compares outputs by themselves, not "
            f"{name.partition('[')[0]!r}; use rel-l2, rel-l2-max, max-abs, cosine, sqnr or psnr"
        )
    try:
        rows = [row.rpartition("=") for row in inner.split(",")]
        tolerances = {output: float(value) for output, _, value in rows}
    except ValueError as error:
        raise OptionError(
            f"{name!r} has a bound that is no number; write OUTPUT=NUMBER, separated by commas"
        ) from error
    for value in tolerances.values():
        base.bound(value)
    return PerOutput(name, base, tolerances)
