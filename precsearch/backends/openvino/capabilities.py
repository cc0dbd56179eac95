"""What an OpenVINO device runs, asked of the device and never assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from precsearch.backends.openvino.runtime import (
    error_line,
    import_openvino,
    openvino_core,
    openvino_errors,
)
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision

__all__ = ["DeviceCapabilities", "device_capabilities"]


@dataclass(frozen=True, slots=True)
class DeviceCapabilities:
    """What a device says of itself.

    Attributes:
        version: OpenVINO's.
        name: ``FULL_DEVICE_NAME``.
        listed: ``OPTIMIZATION_CAPABILITIES``, such as ``BF16`` or ``INT8``, sorted.
    """

    version: str
    name: str
    listed: tuple[str, ...]

    @property
    def precisions(self) -> frozenset[Precision]:
        """FP32, and what the device lists. An x86 CPU lists BF16 if it has AVX512-BF16 or AMX."""
        return frozenset({Precision.FP32, *(p for p in Precision if p.name in self.listed)})


def device_capabilities(device: str) -> DeviceCapabilities:
    """What ``device`` says of itself.

    Args:
        device: OpenVINO's name of it.

    Raises:
        OptionError: OpenVINO is not installed, or has no such device here.
    """
    core = openvino_core()
    version = str(import_openvino().__version__).partition("-")[0]
    try:
        name = str(core.get_property(device, "FULL_DEVICE_NAME"))
        listed: Any = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    except openvino_errors() as error:
        here = ", ".join(core.available_devices) or "none"
        raise OptionError(
            f"OpenVINO has no device {device!r} here ({error_line(error)}); it has {here}"
        ) from error
    return DeviceCapabilities(version, name.strip(), tuple(sorted(map(str, listed))))
