"""Other processes on the GPU, as the driver tells them through pynvml, where that is installed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection
from typing import Any

from precsearch.system.disturbance import NoWatch, Seen, Watch

__all__ = ["DeviceWatch", "device_watch"]


class DeviceWatch:
    """Whether another process has lately computed on a GPU.

    The driver samples a few times a second; what the last sample said holds until the next one.

    Args:
        nvml: The module.
        handle: The device.
        pid: Our process, as the driver numbers it.
        helpers: Processes that work for ours, as the driver numbers them.
    """

    def __init__(
        self,
        nvml: Any,  # noqa: ANN401 - it has no types
        handle: Any,  # noqa: ANN401
        pid: int,
        helpers: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._nvml = nvml
        self._handle = handle
        self._pid = pid
        self._helpers = helpers
        self._since = 0
        self._busy = False

    def look(self) -> Seen:
        """See `precsearch.system.disturbance.Watch.look`."""
        nvml, handle = self._nvml, self._handle
        try:
            running = {p.pid for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
            if self._pid not in running:  # numbered otherwise, as in a container: ours is unknown
                return Seen()
            samples = nvml.nvmlDeviceGetProcessUtilization(handle, self._since)
        except nvml.NVMLError:  # no new sample, or a driver that does not tell
            return Seen(others=self._busy)
        fresh = [s for s in samples if s.timeStamp > self._since]
        if fresh:
            others = running - {self._pid, *self._helpers()}
            self._since = max(s.timeStamp for s in fresh)
            self._busy = any(s.smUtil > 0 and s.pid in others for s in fresh)
        return Seen(others=self._busy)


def device_watch(helpers: Callable[[], Collection[int]] = tuple) -> Watch:
    """A watch of the only GPU; of several, it is not known here which one is in use.

    Args:
        helpers: Processes that work for this one, which disturb nothing.
    """
    try:
        nvml = importlib.import_module("pynvml")
    except (ImportError, OSError):
        return NoWatch()
    try:
        nvml.nvmlInit()
        if nvml.nvmlDeviceGetCount() != 1:
            return NoWatch()
        return DeviceWatch(nvml, nvml.nvmlDeviceGetHandleByIndex(0), os.getpid(), helpers)
    except nvml.NVMLError:
        return NoWatch()
