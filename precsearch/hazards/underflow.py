"""Values that a float format rounds to zero, or nearly, before a logarithm or a division."""

from __future__ import annotations

from collections.abc import Iterator

from precsearch.graph.operators import PRODUCTS, REARRANGING, SELECTING
from precsearch.graph.view import NodeView
from precsearch.hazards.finding import Finding, Gravity, readers
from precsearch.hazards.screened import Screened
from precsearch.hazards.statistics import TensorStatistics

__all__ = ["constant_underflows", "underflows"]

_SUBNORMAL_SHARE = 0.01
_STEPS = 32
_FAR = 1024
_CARRY = ("Sqrt", "Abs", "Neg", "Pow", "Mul", "Div", *REARRANGING)
"""What makes zero of zero; constant operands aside."""

_SOURCES = (
    *(*_CARRY, "Add", "Sub", "Max", "Clip", "Where", "Concat", "Exp", "Softmax", "Sigmoid"),
    *(*SELECTING, "Pad", "Relu"),
)
"""What may owe its small values to small values that it reads."""

"""What makes small values of large ones, whose rounding is then large beside them."""

_REDUCTIONS = ("ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2")


def underflows(screened: Screened) -> Iterator[Finding]:
    """Operands of Log, Div, Reciprocal … with values that the format has no, or a poor, number for.

    The path goes from where such values first appear to the node that cannot have a zero.
    """
    for node in screened.graph.nodes:
        slot = _singular_slot(screened, node)
        stats = screened.statistics(node.inputs[slot]) if slot >= 0 else None
        if stats is None:
            continue
        origin = _origin(screened, node.inputs[slot])
        seen = screened.statistics(origin)
        if seen is None or not _vanishes(seen):
            continue
        if seen.flushed > 0:
            what = f"{seen.flushed:.1%} of tensor {origin!r} (down to {seen.least:.1e}) become zero"
        else:
            what = f"{seen.subnormal:.0%} of tensor {origin!r} are below "
            what += f"{screened.stored_as.smallest_normal:.1e}"
        reason = f"{what}, and {node.op_type} {node.key!r} needs them"
        yield Finding(Gravity.UNDERFLOW, node, reason)
        for maker in _upstream(screened, node.inputs[slot], origin):
            yield Finding(Gravity.UNDERFLOW, maker, reason)


def constant_underflows(screened: Screened) -> Iterator[Finding]:
    """Constants that keep a divisor from zero and are zero in the format; where no run was made.

    A run shows whether anything comes that close to zero.
    """
    if screened.measured:
        return
    for node in screened.graph.nodes:
        if not node.is_op("Add", "Max", "Clip"):
            continue
        for tensor in node.inputs:
            number = screened.number(tensor) if tensor else None
            if number is None or not 0 < abs(number) <= screened.stored_as.flushed:
                continue
            user = _singular_user(screened, node.outputs[0])
            if user is not None:
                reason = (
                    f"constant {tensor!r} ({number:.1e}) becomes zero, and {user.op_type} "
                    f"{user.key!r} needs it"
                )
                yield Finding(Gravity.UNDERFLOW, node, reason)


def _vanishes(stats: TensorStatistics) -> bool:
    return stats.flushed > 0 or stats.subnormal > _SUBNORMAL_SHARE


def _singular_slot(screened: Screened, node: NodeView) -> int:
    """The input slot in which zero gives an infinity, -1 if there is none."""
    if node.is_op("Log", "Reciprocal"):
        return 0
    if node.is_op("Div"):
        return -1 if node.inputs[1] in screened.graph.weights else 1
    if node.is_op("Pow"):
        power = screened.number(node.inputs[1])
        return 0 if power is not None and power < 0 else -1
    return -1


def _singular_user(screened: Screened, tensor: str, steps: int = _STEPS) -> NodeView | None:
    for node, slot in readers(screened, tensor) if steps else ():
        if _singular_slot(screened, node) == slot:
            return node
        if node.is_op(*_CARRY):
            singular = _singular_user(screened, node.outputs[0], steps - 1)
            if singular is not None:
                return singular
    return None


def _origin(screened: Screened, tensor: str) -> str:
    """The tensor behind a root, a square or a factor that vanishes first, if any does.

    ``sqrt(1e-12)`` is 1e-6, which FP16, say, has; but what is under the root is not there any more.
    """
    current = tensor
    for _ in range(_STEPS):
        stats = screened.statistics(current)
        if stats is not None and stats.flushed > 0:
            return current
        maker = screened.graph.producer.get(current)
        if maker is None or not maker.is_op(*_CARRY) or _singular_slot(screened, maker) > 0:
            break
        current = maker.inputs[0]
    return tensor


def _upstream(screened: Screened, tensor: str, origin: str) -> Iterator[NodeView]:
    """Who writes ``tensor``, back to ``origin`` and as far behind it as values vanish."""
    pending, seen = [tensor], {origin}
    on_path = tensor != origin
    while pending and len(seen) < _FAR:
        current = pending.pop()
        maker = screened.graph.producer.get(current)
        if maker is None:
            continue
        yield maker
        on_path = on_path and current != origin
        if on_path:
            pending.append(maker.inputs[0])
        elif maker.is_op(*_SOURCES, *_REDUCTIONS, *PRODUCTS):
            for source in screened.operands(maker):
                stats = screened.statistics(source)
                if source in seen or stats is None or not _vanishes(stats):
                    continue
                if stats.subnormal > _SUBNORMAL_SHARE or not maker.is_op(*PRODUCTS):
                    seen.add(source)
                    pending.append(source)
