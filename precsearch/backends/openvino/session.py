"""An OpenVINO engine that is ready to run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from precsearch.backends.openvino.artifact import EngineArtifact
from precsearch.backends.openvino.inspector import RuntimeLayer, node_layers, runtime_layers
from precsearch.backends.openvino.runtime import error_line, import_openvino, openvino_errors
from precsearch.core.backend import Array, Feed, KernelTime
from precsearch.core.errors import RunError

__all__ = ["OpenVinoSession"]

_PROFILED_S = 0.05
_MOST_PROFILED = 64
"""OpenVINO counts whole microseconds: a small model is profiled in more runs than asked for."""

_DISTURBED = 1.5
"""Times the median: another process ran in between, and one layer has all of it."""


class OpenVinoSession:
    """A compiled model with one inference request. See `precsearch.core.backend.Session`.

    Args:
        compiled: ``openvino.CompiledModel``.
        artifact: What it was made from.
        profiled: Whether it was compiled with ``PERF_COUNT``.
    """

    def __init__(self, compiled: Any, artifact: EngineArtifact, *, profiled: bool) -> None:  # noqa: ANN401
        self._compiled = compiled
        self._artifact = artifact
        self._profiled = profiled
        self._runs = 0
        self._request: Any = compiled.create_infer_request()

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `precsearch.core.backend.Session.run`."""
        request = self._fed(feed)
        try:
            request.infer(share_outputs=True)
            self._runs += 1
            values = [np.array(port.data) for port in request.output_tensors]
        except openvino_errors() as error:
            raise RunError(error_line(error)) from error
        return dict(zip(self._artifact.outputs, values, strict=True))

    def time(self, feed: Feed, repeats: int) -> list[float]:
        """See `precsearch.core.backend.Session.time`; the inputs stay where they are."""
        request, clock = self._fed(feed), time.perf_counter
        seconds = []
        try:
            for _ in range(repeats):
                start = clock()
                request.infer(share_outputs=True)
                seconds.append(clock() - start)
                self._runs += 1
        except openvino_errors() as error:
            raise RunError(error_line(error)) from error
        return seconds

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """See `precsearch.core.backend.Session.profile`.

        OpenVINO gives the mean of every run since the model was compiled, of which the first is
        many times slower than the others. What counts is the difference between two of the runs,
        with nothing in between that took much longer than usual.
        """
        if not self._profiled:
            return ()
        spent: list[float] = []
        totals: list[dict[str, float]] = []
        while len(spent) < _MOST_PROFILED:
            start = time.perf_counter()
            self.run(feed)
            spent.append(time.perf_counter() - start)
            totals.append(self._microseconds())
            first, last = undisturbed(spent)
            if last - first >= runs and sum(spent[first + 1 : last + 1]) >= _PROFILED_S:
                break
        try:
            layers = runtime_layers(self._compiled)
        except openvino_errors() as error:
            raise RunError(error_line(error)) from error
        before, after = totals[first], totals[last]
        return _kernels(layers, self._artifact, _means(before, after, last - first))

    def _microseconds(self) -> dict[str, float]:
        """What each layer that runs has taken since the model was compiled, in all runs.

        Each run's time and their mean are cut off to whole microseconds: half of one is put back
        for each.
        """
        try:
            rows = list(self._request.profiling_info)
        except openvino_errors() as error:
            raise RunError(error_line(error)) from error
        ran = import_openvino().ProfilingInfo.Status.EXECUTED
        cut = 0.5 + (self._runs - 1) / (2 * self._runs)
        times: dict[str, float] = {}
        for row in rows:
            if row.status == ran:
                mean = row.real_time.total_seconds() * 1e6 + cut
                times[row.node_name] = times.get(row.node_name, 0.0) + mean * self._runs
        return times

    def close(self) -> None:
        """See `precsearch.core.backend.Session.close`."""
        self._request = self._compiled = None

    def _fed(self, feed: Feed) -> Any:  # noqa: ANN401
        if self._request is None:
            raise RunError("the session is closed")
        tensor = import_openvino().Tensor
        try:
            for position, name in enumerate(self._artifact.inputs):
                value = np.ascontiguousarray(feed[name])
                self._request.set_input_tensor(position, tensor(value))
        except KeyError as error:
            raise RunError(f"there is no value for the input {error}") from error
        except openvino_errors() as error:
            raise RunError(error_line(error)) from error
        return self._request


def undisturbed(seconds: Sequence[float]) -> tuple[int, int]:
    """Two runs with none in between, nor the second, that took much longer than usual.

    After n runs a sum is known to n microseconds, so that of all such pairs those are best that lie
    far apart and early.

    Returns:
        Their positions; the first and the last run if there is no such pair.
    """
    limit = _DISTURBED * median(seconds)
    runs: list[tuple[float, int, int]] = []
    start = 0
    for place in range(1, len(seconds)):
        if seconds[place] > limit:
            start = place
        else:
            runs.append(((start + place + 2) / (place - start), start, place))
    return min(runs)[1:] if runs else (0, len(seconds) - 1)


def _means(before: Mapping[str, float], after: Mapping[str, float], count: int) -> dict[str, float]:
    """Seconds of one run, from microseconds of all runs at two moments."""
    spent = {name: (total - before.get(name, 0.0)) / max(count, 1) for name, total in after.items()}
    return {name: max(mean, 0.0) * 1e-6 for name, mean in spent.items()}


def _kernels(
    layers: tuple[RuntimeLayer, ...], artifact: EngineArtifact, seconds: Mapping[str, float]
) -> tuple[KernelTime, ...]:
    owned: dict[str, list[str]] = {layer.name: [] for layer in layers}
    for node, layer in node_layers(layers, artifact.nodes).items():
        owned[layer.name].append(node)
    return tuple(
        KernelTime(tuple(owned[x.name]), x.kind, seconds.get(x.name, 0.0), x.precision, x.converts)
        for x in layers
        if owned[x.name] or seconds.get(x.name)
    )
