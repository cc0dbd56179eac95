"""Runs a proxy (`precsearch.onnxio.proxygraph`): one session for every assignment of a model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from precsearch.backend import Array, Feed
from precsearch.errors import BuildError, RunError
from precsearch.onnxio.proxygraph import FLAGS, SCALES, ZEROS, ProxyModel, ProxyRequest
from precsearch.reference.session import first_line, ort_errors, session_options

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["Proxy"]


class Proxy:
    """A session of a proxy. Not thread-safe.

    Feeds run side by side, a thread each: most kernels are too small to be worth more than one.

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
        # Any optimisation could take a cast pair, or a Q/DQ pair, for nothing.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_mem_pattern = False
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
            with ThreadPoolExecutor(lanes, thread_name_prefix="precsearch-proxy") as pool:
                parts = pool.map(lambda i: self._some(request, feeds[i::lanes]), range(lanes))
                done = [iter(part) for part in parts]
            return [next(done[i % lanes]) for i in range(len(feeds))]
        except ort_errors() as error:
            raise RunError(first_line(error)) from error

    def _some(self, request: ProxyRequest, feeds: Sequence[Feed]) -> list[dict[str, Array]]:
        binding = self._bound(request)
        return [self._outputs_of(binding, feed) for feed in feeds]

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
