"""Clients of services that an executor starts."""

from __future__ import annotations

from precsearch.core.device import DeviceSpec
from precsearch.executors.client import MeasurementClient, ReferenceClient
from precsearch.executors.protocol import Executor
from precsearch.measurement.config import MeasurementConfig
from precsearch.measurement.open import open_service
from precsearch.measurement.reference_service import open_reference_service

__all__ = ["connect", "reference"]


def reference(
    executor: Executor, device: DeviceSpec | None = None, limit_s: float = 3600.0
) -> ReferenceClient:
    """A client of a worker that runs the original model.

    Args:
        executor: Starts it.
        device: Where; ``None`` is the home device.
        limit_s: Seconds that a call may take.

    Raises:
        WorkerMissing: No process can be started.
    """
    home = executor.devices()[0] if device is None else device
    return ReferenceClient(executor.open(home, open_reference_service, limit_s=limit_s))


def connect(
    executor: Executor,
    device: DeviceSpec,
    config: MeasurementConfig,
    limit_s: float = 3600.0,
) -> MeasurementClient:
    """A client of a worker that measures; the worker is ready when this returns.

    Raises:
        WorkerError: It cannot be started.
        OptionError: The backend is not installed there, or the metric is unknown.
    """
    client = MeasurementClient(executor.open(device, open_service, config, limit_s=limit_s))
    try:
        client.prepare()
    except BaseException:
        client.close()
        raise
    return client
