"""What `diagnose` finds, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from precsearch.core.precision import Precision
from precsearch.metrics.similarity import Similarity
from precsearch.rewrites.search import Suggestion

__all__ = ["Constant", "Diagnosis", "Layer"]


@dataclass(frozen=True)
class Layer:
    """One tensor.

    Attributes:
        tensor: Its name in the prepared model.
        op_type, node: The node that makes it, and that node's name.
        group, kind, block: The group that it belongs to.
        precision: What the group was asked for.
        achieved: What it ran in, ``None`` where that is not known.
        shape: In the last feed.
        likeness: How far it is from FP32's.
        reads: What the node reads.
        before: The largest relative difference among that.
        jump: Whether the difference arises here.
        alone: For a jump, the loss of the outputs if only its group is in this configuration.
    """

    tensor: str
    op_type: str
    node: str
    group: str
    kind: str
    block: str
    precision: Precision
    achieved: Precision | None
    shape: tuple[int, ...]
    likeness: Similarity
    reads: tuple[str, ...]
    before: float
    jump: bool
    alone: float | None = None


@dataclass(frozen=True)
class Constant:
    """A weight with values beyond what FP16 holds.

    Attributes:
        tensor: Its name.
        absmax: Its largest finite magnitude.
        readers: The FP16 nodes that read it.
        harmless: Whether the outputs stay right though it becomes infinite, by the rules of
            `precsearch.hazards`: a Softmax gives 0 for a mask of -inf.
    """

    tensor: str
    absmax: float
    readers: tuple[str, ...]
    harmless: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        model: File name.
        asked: The configuration in words.
        how: How its inner tensors were seen.
        losses: Relative L2 by output; infinite for one whose size differs.
        layers: In graph order.
        constants: Weights that FP16 cannot hold.
        samples: How many were compared.
        random: Whether they were random numbers.
        notes: What the user should know, sentences.
        held_bytes: The most that tensors under comparison took.
        suggestions: Rewrites that were tried, the best first.
        resized: Outputs that have another size than in FP32 → in how many feeds.
    """

    model: str
    asked: str
    how: str
    losses: Mapping[str, float]
    layers: tuple[Layer, ...]
    constants: tuple[Constant, ...]
    samples: int
    random: bool
    notes: tuple[str, ...] = field(default=())
    held_bytes: int = 0
    suggestions: tuple[Suggestion, ...] = ()
    resized: Mapping[str, int] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Of the worst output of FP32's size; infinite if none has it."""
        losses = [loss for output, loss in self.losses.items() if output not in self.resized]
        return max(losses, default=math.inf if self.resized else 0.0)

    @property
    def jumps(self) -> tuple[Layer, ...]:
        """Where differences arise, in graph order."""
        return tuple(layer for layer in self.layers if layer.jump)

    def worst_first(self) -> tuple[Layer, ...]:
        """The layers by what became infinite, then by relative difference; ties in graph order."""
        return tuple(
            sorted(self.layers, key=lambda r: (-r.likeness.relative, -r.likeness.nonfinite))
        )
