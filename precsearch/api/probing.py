"""How a search scores assignments at proxy fidelity."""

from __future__ import annotations

from precsearch.api.setup import Target
from precsearch.onnxio.lower import Lowering
from precsearch.onnxio.proxygraph import ProxyGraph

__all__ = ["proxy_of"]


def proxy_of(target: Target, lowering: Lowering) -> ProxyGraph | None:
    """The proxy that stands in for the target's engines, ``None`` where these are as cheap.

    A backend that does not compile opens its own engine in 5 to 100 ms (docs/benchmarks/proxy.md)
    and runs INT8 in integers, faster than a proxy that emulates it: there, a proxy is an engine
    that is not timed.

    Raises:
        ModelError: A weight is not finite, or the proxy is too large.
    """
    if not target.backend.compiles or len(target.space.precisions) == 1:
        return None
    space, scheme = lowering.space, lowering.scheme
    return ProxyGraph(lowering.graph, space, scheme, lowering.scales, lowering.form)
