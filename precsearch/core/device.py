"""`DeviceSpec`: one device that engines run on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["DeviceSpec"]


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device. Lock file, build cache, artifact store, noise and incumbent belong to one.

    Attributes:
        host: Name of the machine; "" is the one that the search was started on.
        kind: ``cpu`` or ``gpu``.
        index: Which one of its kind. Of GPUs, the number that CUDA gives it.
        cores: The CPU cores that it is made of, sorted; empty for a GPU, and for a CPU whose cores
            are left to the system.
    """

    host: str = ""
    kind: str = "cpu"
    index: int = 0
    cores: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The device in a word, such as ``cpu``, ``cpu:0-3``, ``gpu:1`` or ``node7/gpu:0``."""
        host = f"{self.host}/" if self.host else ""
        if self.kind == "cpu":
            return f"{host}cpu:{_spans(self.cores)}" if self.cores else f"{host}cpu"
        return f"{host}{self.kind}:{self.index}"

    @property
    def file_stem(self) -> str:
        """The name with nothing in it that a file name cannot hold."""
        return "".join(c if c.isalnum() or c in "-+." else "_" for c in self.name)


def _spans(cores: tuple[int, ...]) -> str:
    """``0-3+8`` for the cores 0, 1, 2, 3 and 8."""

    def spans() -> Iterator[str]:
        start = end = cores[0]
        for core in (*cores[1:], -2):
            if core == end + 1:
                end = core
                continue
            yield str(start) if start == end else f"{start}-{end}"
            start = end = core

    return "+".join(spans())
