"""Hints about time: precisions in which an attention core is no longer one kernel."""

from __future__ import annotations

from collections.abc import Collection

from precsearch.core.precision import Precision
from precsearch.core.quantization import FusedAttention, QuantScheme
from precsearch.core.space import SearchSpace
from precsearch.graph.attention import AttentionCore, attention_cores
from precsearch.graph.view import GraphView

__all__ = ["attention_hints"]

_SHOWN = 4


def attention_hints(
    graph: GraphView, space: SearchSpace, scheme: QuantScheme
) -> dict[tuple[str, Precision], str]:
    """(Group key, precision) → the end of a sentence.

    Only where the same group may take a more precise format in which the core is one kernel.

    Args:
        graph: The prepared model; the more shapes it knows, the more cores are judged.
        space: Its groups.
        scheme: What the engine fuses; one that lists no precision says nothing.
    """
    cores = attention_cores(graph) if scheme.attention else {}
    hints: dict[tuple[str, Precision], str] = {}
    for group in space.groups:
        for core in (cores[key] for key in group.nodes if key in cores):
            fused = [p for p in group.choices if _is_fused(core, p, scheme)]
            for precision in (p for p in group.choices[1:] if p not in fused):
                instead = [p for p in fused if p.rank < precision.rank]
                if instead and precision in scheme.attention:
                    best = instead[-1].value.upper()
                    why = _why(core, precision, scheme.attention[precision])
                    hint = f"{why}, so the core is several kernels; in {best} it is one"
                    hints.setdefault((group.key, precision), hint)
    return hints


def _is_fused(core: AttentionCore, precision: Precision, scheme: QuantScheme) -> bool:
    kernel = scheme.attention.get(precision)
    return kernel is not None and kernel.takes(core.head, core.keys)


def _why(core: AttentionCore, precision: Precision, kernel: FusedAttention) -> str:
    label = precision.value.upper()
    if core.head is not None and core.head not in kernel.heads:
        return f"no {label} attention kernel has heads of {core.head} ({_listed(kernel.heads)})"
    least, most = kernel.keys
    limit = f"at most {most:.0f}" if most < (core.keys or 0) else f"at least {least:.0f}"
    return f"no {label} attention kernel takes {core.keys} tokens ({limit})"


def _listed(sizes: Collection[int]) -> str:
    if len(sizes) <= _SHOWN:
        return ", ".join(map(str, sorted(sizes)))
    return f"{min(sizes)} to {max(sizes)}"
