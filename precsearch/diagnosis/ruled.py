"""What the rules of `inspect` say about a configuration that `diagnose` looks into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from precsearch.core.backend import Feed
from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.core.problem import Prior
from precsearch.core.space import Assignment
from precsearch.emulation.configuration import Configuration
from precsearch.graph.work import sized
from precsearch.hazards import harmful_constants, hazards, screened_tensors, softmax_axes
from precsearch.hazards.collect import Screening, screen
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import RangeScales

__all__ = ["Ruled", "ruled"]

_SHOWN = 5


@dataclass(frozen=True)
class Ruled:
    """What rules know of the groups that run in FP16.

    Attributes:
        hazards: A prior against FP16 for each group that a rule names, in graph order.
        constants: (constant, node that reads it) where FP16 makes an infinity that does harm.
    """

    hazards: tuple[Prior, ...]
    constants: frozenset[tuple[str, str]]

    def beyond(self, shown: frozenset[str]) -> Iterator[str]:
        """Sentences on the groups that a rule names and a comparison does not.

        Args:
            shown: Groups in which a difference arises.
        """
        causes = {_cause(p) for p in self.hazards if p.key in shown}
        left: dict[str, str] = {}
        for prior in self.hazards:
            if _cause(prior) not in causes and prior.key not in shown:
                left.setdefault(_cause(prior), prior.key)
        for cause, key in list(left.items())[:_SHOWN]:
            yield (
                f"by rule, group {key!r} does not suit FP16, though no difference arises in it "
                f"here: {cause}"
            )
        if len(left) > _SHOWN:
            yield f"rules name {len(left) - _SHOWN} more causes: see 'precsearch inspect --data'"


def _cause(prior: Prior) -> str:
    return prior.reason.partition(": ")[2]


def ruled(opened: Configuration, feeds: Sequence[Feed], budget: int) -> Ruled | None:
    """Judge a configuration by rule.

    Args:
        opened: The configuration.
        feeds: The samples; the FP32 model runs on them once.
        budget: Bytes of tensors in memory at a time.

    Returns:
        What the rules know; ``None`` where no group runs in FP16, or the model cannot be screened.
    """
    keys = opened.assignment.keys_at(Precision.FP16)
    if not keys:
        return None
    graph, scheme = opened.graph, opened.scheme
    plain = Lowering(graph, opened.space, scheme, RangeScales({}, scheme)).lower(Assignment())
    screening = Screening(
        plain.model, opened.model_folder, screened_tensors(graph), softmax_axes(graph), budget
    )
    try:
        statistics = screen(screening, feeds)
    except ModelError:
        return None  # the comparison says what is wrong with the model
    graph = sized(graph, {name: array.shape for name, array in feeds[0].items()})
    priors = hazards(graph, opened.space, statistics, scheme)
    return Ruled(
        tuple(p for p in priors if p.precision is Precision.FP16 and p.key in keys),
        harmful_constants(graph, opened.space, statistics),
    )
