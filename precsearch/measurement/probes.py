"""The proxy of a measurement service, and the samples that it sees: few, the hardest first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from precsearch.core.backend import Array, BackendOptions, Feed
from precsearch.core.errors import BuildError
from precsearch.data import Dataset

if TYPE_CHECKING:
    from precsearch.emulation.multiplexed import ProxyModel, ProxyRequest
    from precsearch.emulation.session import Proxy

__all__ = ["SMOOTH", "FirstLook", "Probes", "by_hardness"]

_LEAST = 4
_FEEDS, _SECONDS = 64, 0.3
"""What a proxy sees at most, and about how long it may run."""
SMOOTH = 0.5
"""Share of that for a metric of distances, which fewer samples resolve than right answers."""


def by_hardness(sizes: Sequence[int], losses: Sequence[float]) -> list[int]:
    """Positions of feeds in the order in which a proxy should see them.

    The feed with the worst sample comes first. Where no losses are known, feeds from all over the
    data come first: every fourth, say, then those between.

    Args:
        sizes: Samples in each feed.
        losses: Of each sample, in a rough engine; or nothing.
    """
    if len(losses) != sum(sizes) or not losses:
        return _spread(len(sizes))
    worst, start = [], 0
    for size in sizes:
        worst.append(max(losses[start : start + size], default=0.0))
        start += size
    return sorted(range(len(sizes)), key=lambda i: (-worst[i], i))


def _spread(count: int) -> list[int]:
    """Positions, those first that halve the gaps between the ones before."""
    indices: dict[int, None] = {}
    step = count
    while step > 0:
        indices.update(dict.fromkeys(range(0, count, step)))
        step //= 2
    return list(indices)


class FirstLook:
    """What a proxy sees that is an engine without a timing: few samples, the hardest first.

    How many is settled by the first of them: as many as run in about a third of a second, four at
    least and 64 at most. A search asks for many proxies, to rank groups.

    Args:
        share: Of the time and of the samples that a proxy may have, such as `SMOOTH`.
    """

    def __init__(self, share: float = 1.0) -> None:
        self._share = share
        self._chosen: tuple[int, ...] = ()

    def run(
        self,
        run: Callable[[Feed], Mapping[str, Array]],
        data: Dataset,
        losses: Sequence[float],
    ) -> tuple[tuple[int, ...], list[Mapping[str, Array]]]:
        """The feeds that were run, as positions in ``data``, and the outputs for each.

        Args:
            run: One inference.
            data: The search part.
            losses: Of each sample, in a rough engine; see `by_hardness`. The first call's count.

        Raises:
            RunError: An inference failed.
        """
        if not self._chosen:
            order = by_hardness(data.sizes, losses)
            run(data.feeds[order[0]])  # the first run is cold
            start = time.perf_counter()
            run(data.feeds[order[0]])
            took = max(time.perf_counter() - start, 1e-6)
            affordable = max(int(self._share * _SECONDS / took), _LEAST)
            count = min(affordable, int(self._share * _FEEDS), len(order))
            self._chosen = tuple(order[:count])
        return self._chosen, [run(data.feeds[i]) for i in self._chosen]


class Probes:
    """A proxy that is opened when it is first asked. Not thread-safe.

    Args:
        model: The proxy; ``None`` where there is none.
        options: Threads and the folder of external weights.
        share: See `FirstLook`.
    """

    def __init__(
        self, model: ProxyModel | None, options: BackendOptions, share: float = 1.0
    ) -> None:
        self._model = model
        self._options = options
        self._share = share
        self._proxy: Proxy | None = None
        self._chosen: tuple[int, ...] = ()

    def ready(self) -> Proxy:
        """The proxy, opened.

        Raises:
            BuildError: There is none, or it does not open.
        """
        if self._proxy is None:
            if self._model is None:
                raise BuildError("this measurement service was given no proxy")
            from precsearch.emulation.session import Proxy  # late: most workers have none

            threads = self._options.threads or len(os.sched_getaffinity(0))
            self._proxy = Proxy(self._model, threads, threads, self._options.model_folder)
        return self._proxy

    def run(
        self, request: ProxyRequest, data: Dataset, losses: Sequence[float]
    ) -> tuple[tuple[int, ...], list[dict[str, Array]]]:
        """The feeds that the proxy saw, as positions in ``data``, and its outputs for each.

        Which feeds these are is settled by the first call, whose ``losses`` count. A search asks
        for hundreds of proxies, to rank groups; engines see all of the data.

        Raises:
            BuildError: See `ready`.
            RunError: The proxy failed.
        """
        proxy = self.ready()
        if not self._chosen:
            order = by_hardness(data.sizes, losses)
            self._chosen = tuple(order[: self._affordable(proxy, request, data, order)])
        feeds = [data.feeds[i] for i in self._chosen]
        return self._chosen, proxy.run(request, feeds)

    def _affordable(
        self, proxy: Proxy, request: ProxyRequest, data: Dataset, order: Sequence[int]
    ) -> int:
        """How many feeds a proxy can run in its time."""
        first = [data.feeds[i] for i in order[: proxy.lanes]]
        proxy.run(request, first)  # the first run is cold
        start = time.perf_counter()
        proxy.run(request, first)
        took = max(time.perf_counter() - start, 1e-6)
        rows = max(1, int(self._share * _SECONDS / took))
        return min(rows * proxy.lanes, int(self._share * _FEEDS), len(order))
