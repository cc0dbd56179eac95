"""The devices that a user names: GPUs by index, or sets of CPU cores."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from precsearch.core.backend.facts import BackendFacts
from precsearch.core.device import DeviceSpec
from precsearch.core.errors import OptionError
from precsearch.setup.config import OptimizeConfig

__all__ = ["devices_of", "named_devices", "parse_devices"]

_MOST = 1 << 12
_SPAN = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)


def devices_of(config: OptimizeConfig, facts: BackendFacts) -> tuple[DeviceSpec, ...]:
    """The devices of a run, the home device first.

    Raises:
        OptionError: What was named is no device, or not one that this process may use.
    """
    return named_devices(config.devices, facts, config.threads)


def named_devices(names: str, facts: BackendFacts, threads: int) -> tuple[DeviceSpec, ...]:
    """`devices_of` for text and the number of threads that was asked for."""
    if not names:
        return (DeviceSpec(kind=facts.device),)
    devices = parse_devices(names, facts.device)
    if facts.device == "cpu":
        _check_cores(devices, threads)
    return devices


def parse_devices(text: str, kind: str) -> tuple[DeviceSpec, ...]:
    """``0,1`` as two GPUs; ``0-3,4-7`` as two CPU devices of four cores.

    Args:
        text: As given.
        kind: ``cpu`` or ``gpu``.

    Raises:
        OptionError: It is not of this form, or names a device or core twice.
    """
    devices: list[DeviceSpec] = []
    for index, part in enumerate(p.strip() for p in text.split(",")):
        numbers = _numbers(part, text)
        if kind == "cpu":
            devices.append(DeviceSpec(kind=kind, index=index, cores=tuple(sorted(numbers))))
        elif len(numbers) == 1:
            devices.append(DeviceSpec(kind=kind, index=numbers[0]))
        else:
            raise _malformed(text)
    named = [n for d in devices for n in (d.cores or (d.index,))]
    twice = [n for n in named if named.count(n) > 1]
    if twice:
        what = "core" if kind == "cpu" else "GPU"
        raise OptionError(f"--devices names {what} {twice[0]} twice; name each once")
    return tuple(devices)


def _numbers(part: str, text: str) -> list[int]:
    """``0-2+5`` as 0, 1, 2 and 5."""
    numbers: list[int] = []
    for span in part.split("+"):
        match = _SPAN.fullmatch(span.strip())
        if match is None:
            raise _malformed(text)
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first or last >= _MOST:
            raise _malformed(text)
        numbers.extend(range(first, last + 1))
    return numbers


def _check_cores(devices: Sequence[DeviceSpec], threads: int) -> None:
    """Whether this process may use the cores, and one inference fits on each device."""
    if not hasattr(os, "sched_setaffinity"):
        raise OptionError("--devices cannot keep engines to CPU cores on this system; leave it out")
    if len({len(d.cores) for d in devices}) > 1:
        raise OptionError(
            "the devices of --devices have different numbers of cores, so their engines run at "
            "different speeds; give each the same number"
        )
    allowed = os.sched_getaffinity(0)
    missing = sorted({c for d in devices for c in d.cores} - allowed)
    if missing:
        raise OptionError(
            f"this process may not use core {missing[0]}, which --devices names; it may use "
            f"{DeviceSpec(cores=tuple(sorted(allowed))).name.removeprefix('cpu:')}"
        )
    if threads > len(devices[0].cores):
        raise OptionError(
            f"--threads asks for {threads} threads, and each device of --devices has "
            f"{len(devices[0].cores)} cores; lower --threads, or name more cores"
        )


def _malformed(text: str) -> OptionError:
    return OptionError(
        "--devices takes devices separated by commas: of GPUs their indices, such as 0,1; of a CPU "
        f"sets of cores, such as 0-3,4-7 or 0+2,1+3; not {text!r}"
    )
