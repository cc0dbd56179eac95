"""Whether an infinity that a float format makes of a large value reaches the outputs.

It often does not: tanh and sigmoid saturate, a Softmax gives 0 for what is masked out with -inf, a
Clip to infinite limits clips nothing. The first non-finite tensor proves nothing.
"""

from __future__ import annotations

from precsearch.graph.operators import (
    BINARY_ARITHMETIC,
    FUSED_ACTIVATIONS,
    MEASURING,
    REARRANGING,
    SOFTMAXES,
)
from precsearch.graph.view import NodeView
from precsearch.hazards.screened import Screened

__all__ = ["Infinities"]

_SATURATING = ("Tanh", "Sigmoid", "Erf", "HardSigmoid", "Sign", "Atan")
_COMPARING = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")
_SELECTING = (
    *(*FUSED_ACTIVATIONS, "Max", "Min", "Where", "MaxPool", "GlobalMaxPool"),
    *("Concat", "Slice", "Split", "Gather"),
)
_MONOTONE = ("Neg", "Abs", "Sqrt", "Pow", "LeakyRelu")
_SMALL = 1e-3
_DEPTH = 64


class Infinities:
    """Follows them through a graph.

    Args:
        screened: The graph and what is known of its tensors.
    """

    def __init__(self, screened: Screened) -> None:
        self._screened = screened
        self._known: dict[str, bool] = {}

    def harmless(self, tensor: str, depth: int = 0) -> bool:
        """Whether the outputs stay right if all that overflows in ``tensor`` is infinite."""
        graph = self._screened.graph
        if tensor in graph.output_names or depth > _DEPTH:
            return False
        if tensor not in self._known:
            uses = graph.consumers.get(tensor, ())
            self._known[tensor] = all(s >= 0 and self.harmless_at(n, s, depth) for n, s in uses)
        return self._known[tensor]

    def harmless_at(self, node: NodeView, slot: int, depth: int = 0) -> bool:
        """The same for what one node makes of it, read at one input slot."""
        if node.is_op(*_SATURATING, *_COMPARING, *MEASURING):
            return True
        if node.is_op(*SOFTMAXES):
            return self._masked_out(node)
        if node.is_op("Div", "Reciprocal") and slot == len(node.inputs) - 1:
            return self._divided_away(node)
        outputs = [t for t in node.outputs if t]
        fits = [self._screened.fits(t) for t in outputs]
        if node.is_op(*REARRANGING, *_SELECTING, "Exp"):
            # Within range, an output shows that nothing of what overflows was selected.
            if all(fits) or (None in fits and self._is_limit(node, slot)):
                return True
        elif True in fits or not self._stays_infinite(node, slot):
            return False  # finite in FP32, infinite or NaN in the format
        return all(f or self.harmless(t, depth + 1) for f, t in zip(fits, outputs, strict=True))

    def _is_limit(self, node: NodeView, slot: int) -> bool:
        """Whether a constant there is a limit that is meant never to be reached."""
        constant = node.inputs[slot] in self._screened.graph.weights
        return constant and (slot > 0 if node.is_op("Clip") else node.is_op("Max", "Min"))

    def _masked_out(self, node: NodeView) -> bool:
        """Whether only -inf reaches a Softmax, and each row has something else.

        Without a run that is taken for granted: it is what masks are for.
        """
        overflow = self._screened.stored_as.overflow
        mask = self._screened.statistics(node.inputs[0])
        peak = self._screened.peak(node.inputs[0])
        if mask is None:
            return True
        return mask.high < overflow and peak is not None and peak > -overflow

    def _divided_away(self, node: NodeView) -> bool:
        """Whether a quotient by more than the largest number may as well be 0."""
        stored_as = self._screened.stored_as
        out = self._screened.statistics(node.outputs[0])
        above = self._screened.statistics(node.inputs[0]) if node.is_op("Div") else None
        if out is None or (node.is_op("Div") and above is None):
            return False
        numerator = 1.0 if above is None else above.absmax
        within = numerator < stored_as.overflow
        return within and numerator / stored_as.largest <= _SMALL * out.rms

    def _stays_infinite(self, node: NodeView, slot: int) -> bool:
        """Whether a node makes an infinity of the right sign, and no NaN, of an infinity."""
        if node.is_op(*_MONOTONE):
            return True
        if not node.is_op(*BINARY_ARITHMETIC):
            return False
        other = node.inputs[1 - slot]
        if self._screened.fits(other) is False:
            return False
        number = self._screened.number(other)
        return node.is_op("Add", "Sub") or (
            number is not None and abs(number) > self._screened.stored_as.flushed
        )
