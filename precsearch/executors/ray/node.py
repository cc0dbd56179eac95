"""`Node`: what an actor does on its node."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import PrecsearchError
from precsearch.executors.process.worker import Worker
from precsearch.executors.site import Site
from precsearch.measurement.place import Place

__all__ = ["Node"]

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Node:
    """What the actor is: it serves one service from a subprocess on its node."""

    def __init__(
        self,
        device: DeviceSpec,
        place: Place | None,
        site: Site,
        files: Mapping[str, Any],
        visible: str,
    ) -> None:
        import ray

        if visible:  # the GPU of another actor, which Ray would hide from this one
            os.environ[_VISIBLE] = visible
        self._device = device
        if place is None:
            for name in site.missing():
                site.put(name, ray.get(files[name]))
            place = site.place(device, shared=False)
        self._place = place
        self._worker: Worker[Any] | None = None

    def open(
        self, make: Callable[..., Any], refs: Sequence[Any], limit_s: float, settled: Sequence[Any]
    ) -> tuple[str, object, bool]:
        """Start the service, in place of one that is there."""
        import ray

        args = ray.get(list(refs))
        try:
            if self._worker is not None:
                self._worker.close()
            # A GPU that Ray assigned is the only one that this process sees.
            here = replace(self._device, index=0)
            self._worker = Worker(make, args, limit_s=limit_s, device=here, place=self._place)
            self._worker.prepare()
            for name, given, more in settled:
                self._worker.named(name, given, more, again=True)
        except PrecsearchError as error:
            return "error", error, self._ready
        return "result", None, self._ready

    def ask(
        self, name: str, args: tuple[object, ...], more: Mapping[str, Any], again: bool
    ) -> tuple[str, object, bool]:
        """What a method gives, or the error that it raised; and whether the service still runs."""
        assert self._worker is not None, "opened before"
        try:
            return "result", self._worker.named(name, args, more, again=again), self._ready
        except PrecsearchError as error:
            return "error", error, self._ready

    def visible(self) -> str:
        """The GPUs that Ray assigned to this actor, as CUDA names them."""
        return os.environ.get(_VISIBLE, "")

    def stop(self) -> None:
        """Kill the subprocess."""
        if self._worker is not None:
            self._worker.stop()

    def close(self) -> None:
        """End the subprocess."""
        if self._worker is not None:
            self._worker.close()

    def pid(self) -> int:
        """Of the actor's own process."""
        return os.getpid()

    @property
    def _ready(self) -> bool:
        return self._worker is not None and self._worker.ready
