"""The build options of OpenVINO, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from precsearch.core.errors import OptionError

__all__ = ["OpenVinoOptions"]

_DEVICE = re.compile(r"[A-Za-z]+(\.\d+)?")
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_MOST_STREAMS = 1024


@dataclass(frozen=True, slots=True)
class OpenVinoOptions:
    """How engines are compiled; the same for all engines of a search.

    Attributes:
        device: OpenVINO's name of the device: ``CPU``, ``GPU``, ``GPU.1``, ``NPU``.
        streams: ``NUM_STREAMS``: inferences that the engine is prepared to run at a time. Latency
            is measured one inference at a time.
        pinning: ``ENABLE_CPU_PINNING``: whether threads are bound to cores. OpenVINO's own default
            is true on Linux; two engines that are timed by turns then share the same cores.
    """

    device: str = "CPU"
    streams: int = 1
    pinning: bool = False

    @classmethod
    def of(cls, given: Mapping[str, str]) -> OpenVinoOptions:
        """The defaults with some of them replaced.

        Raises:
            OptionError: A name is unknown, or a value makes no sense.
        """
        known = {f.name for f in fields(cls)}
        for name in given:
            if name not in known:
                raise OptionError(
                    f"the openvino backend has no build option {name!r}; use one of "
                    f"{', '.join(sorted(known))}"
                )
        device = given.get("device", cls().device)
        if not _DEVICE.fullmatch(device):
            raise OptionError(
                f"the build option device is a name such as CPU or GPU.1, not {device!r}"
            )
        return cls(device.upper(), _streams(given), _pinning(given))


def _streams(given: Mapping[str, str]) -> int:
    text = given.get("streams", "1")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= _MOST_STREAMS:
        raise OptionError(
            f"the build option streams must be from 1 to {_MOST_STREAMS}, not {text!r}"
        )
    return int(text)


def _pinning(given: Mapping[str, str]) -> bool:
    text = given.get("pinning", "false")
    if text.lower() not in _BOOLEANS:
        raise OptionError(f"the build option pinning is true or false, not {text!r}")
    return _BOOLEANS[text.lower()]
