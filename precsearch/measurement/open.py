"""Constructs a measurement service in its process."""

from __future__ import annotations

from functools import partial
from typing import cast

from precsearch.measurement.config import MeasurementConfig
from precsearch.measurement.device_lock import SerializedService
from precsearch.measurement.place import Place
from precsearch.measurement.reference_service import Announce
from precsearch.measurement.service import MeasurementService

__all__ = ["open_service"]


def open_service(place: Place, config: MeasurementConfig, announce: Announce) -> MeasurementService:
    """A measurement service; one that takes turns if others share its device."""
    if place.lock is None:
        return MeasurementService(place, config, announce)
    service = SerializedService(
        partial(MeasurementService, place, config), place.lock, config.use, announce
    )
    return cast(MeasurementService, service)  # it passes every method on
