"""Runs a proxy of `precsearch.emulation.multiplexed`: one session for every assignment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from precsearch.core.backend import Array, Feed
from precsearch.core.errors import BuildError, RunError
from precsearch.emulation.batching import alike, batch_dimension, same_outputs, stack, unstack
from precsearch.emulation.multiplexed import FLAGS, SCALES, ZEROS, ProxyModel, ProxyRequest
from precsearch.reference.session import first_line, ort_errors, session_options

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["Proxy"]

_LOOKS = 3

_WORTH_IT = 0.9
"""Stacked samples are run if they take less than this of what they take one by one."""

_STACKED = 8
"""Samples in a feed at most: their activations are all in memory."""

_STACK_SECONDS = 0.05
"""A longer pass is mostly computing, which stacking does not shorten, and has large activations."""


class Proxy:
    """A session of a proxy. Not thread-safe.

    Feeds run side by side, a thread each: most kernels are too small to be worth more than one. Of
    a model whose batch dimension is free, a few samples run as one feed.

    Args:
        model: The proxy.
        threads: CPU threads in all.
        lanes: Feeds that run at a time; each has its activations in memory.
        model_folder: Folder of its external weights, if it has any.

    Raises:
        BuildError: ONNX Runtime refuses it.
    """

    def __init__(
        self, model: ProxyModel, threads: int, lanes: int = 1, model_folder: str = ""
    ) -> None:
        import onnxruntime as ort

        options = session_options(max(1, threads // max(1, lanes)), model_folder)
        # Any optimization could take a cast pair, or a Q/DQ pair, for nothing.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if not model.complete:
            # A weight of which a run computes another form would stay beside its packed copy.
            options.add_session_config_entry("session.disable_prepacking", "1")
        self._model = model
        self._lanes = max(1, min(lanes, threads))
        try:
            self._session = ort.InferenceSession(
                model.model, options, providers=["CPUExecutionProvider"]
            )
        except ort_errors() as error:
            raise BuildError(f"the proxy does not open: {first_line(error)}") from error
        self._outputs = [o.name for o in self._session.get_outputs()]
        self._pool = ThreadPoolExecutor(self._lanes, thread_name_prefix="precsearch-proxy")
        self._stacks: bool | None = None if self._may_stack() else False

    @property
    def lanes(self) -> int:
        """How many feeds run side by side."""
        return self._lanes

    def run(self, request: ProxyRequest, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
        """The outputs of an assignment, by output name, one dictionary a feed.

        Raises:
            RunError: The proxy failed.
        """
        lanes = max(1, min(self._lanes, len(feeds)))
        try:
            parts = self._parts(feeds, -(-len(feeds) // lanes))
            if lanes == 1:
                done = [self._some(request, feeds, parts)]
            else:
                shares = [parts[i::lanes] for i in range(lanes)]
                done = list(self._pool.map(lambda p: self._some(request, feeds, p), shares))
        except ort_errors() as error:
            raise RunError(first_line(error)) from error
        outputs_by_position = {position: outputs for share in done for position, outputs in share}
        return [outputs_by_position[i] for i in range(len(feeds))]

    def _may_stack(self) -> bool:
        """Whether the model's own inputs and all its outputs have one batch dimension."""
        added = {FLAGS, SCALES, ZEROS}
        own = [i for i in self._session.get_inputs() if i.name not in added]
        return bool(own) and batch_dimension([*own, *self._session.get_outputs()]) is not None

    def _parts(self, feeds: Sequence[Feed], share: int) -> list[list[int]]:
        """Which feeds run as one: some of the same shape, where that changes nothing."""
        parts = alike(feeds, min(_STACKED, share)) if self._stacks is not False else []
        if self._stacks is None and any(len(p) > 1 for p in parts):
            pair = next(p for p in parts if len(p) > 1)[:2]
            self._stacks = self._stackable([feeds[i] for i in pair])
        return parts if self._stacks else [[i] for i in range(len(feeds))]

    def _stackable(self, feeds: Sequence[Feed]) -> bool:
        """Whether a pass is short, and samples side by side give what each alone gives.

        It is looked at where nothing is rounded: rounding is by element, with scales that no sample
        changes.
        """
        model = self._model
        count = len(model.scaled)
        binding = self._bound(
            ProxyRequest((False,) * len(model.flags), (1.0,) * count, (0,) * count)
        )
        expected = [self._outputs_of(binding, feed) for feed in feeds]
        alone = self._seconds(binding, feeds[0])
        if alone > _STACK_SECONDS:
            return False
        both = stack(feeds)
        try:
            unstacked = unstack(self._outputs_of(binding, both), len(feeds), _rows(both))
            if not same_outputs(unstacked, expected):
                return False
        except ort_errors():  # it has a batch dimension in name only
            return False
        return self._seconds(binding, both) < _WORTH_IT * len(feeds) * alone

    def _seconds(self, binding: ort.IOBinding, feed: Feed) -> float:
        """Of the fastest of a few runs: something else may use the machine for a moment."""
        times = []
        for _ in range(_LOOKS):
            start = time.perf_counter()
            self._outputs_of(binding, feed)
            times.append(time.perf_counter() - start)
        return min(times)

    def _some(
        self, request: ProxyRequest, feeds: Sequence[Feed], parts: Sequence[Sequence[int]]
    ) -> list[tuple[int, dict[str, Array]]]:
        binding = self._bound(request)
        results: list[tuple[int, dict[str, Array]]] = []
        for part in parts:
            if len(part) == 1:
                results.append((part[0], self._outputs_of(binding, feeds[part[0]])))
                continue
            both = stack([feeds[i] for i in part])
            try:
                outputs = unstack(self._outputs_of(binding, both), len(part), _rows(both))
            except ValueError:  # sizes that depend on data, though not on the first samples
                self._stacks = False
                outputs = [self._outputs_of(binding, feeds[i]) for i in part]
            results += zip(part, outputs, strict=True)
        return results

    def _bound(self, request: ProxyRequest) -> ort.IOBinding:
        """What does not change from feed to feed, which is most of the inputs."""
        model, binding = self._model, self._session.io_binding()
        if model.flags:
            binding.bind_cpu_input(FLAGS, np.asarray(request.flags, np.bool_))
        if model.scaled:
            binding.bind_cpu_input(SCALES, np.asarray(request.scales, np.float32))
            binding.bind_cpu_input(ZEROS, np.asarray(request.zero_points, model.activation))
        return binding

    def _outputs_of(self, binding: ort.IOBinding, feed: Feed) -> dict[str, Array]:
        for name, array in feed.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(array).reshape(array.shape))
        binding.clear_binding_outputs()
        for name in self._outputs:
            binding.bind_output(name)
        self._session.run_with_iobinding(binding)
        return dict(zip(self._outputs, binding.copy_outputs_to_cpu(), strict=True))


def _rows(feed: Feed) -> int:
    """Rows of a feed whose inputs all lead with the batch."""
    return len(next(iter(feed.values())))
