"""`Request`: what a run asks an executor for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from precsearch.core.backend.facts import BackendFacts
from precsearch.core.device import DeviceSpec
from precsearch.graph.reading.read import SourceModel
from precsearch.setup.devices import named_devices

__all__ = ["Request"]


@dataclass(frozen=True)
class Request:
    """What a run asks an executor for.

    Attributes:
        source: The model as read.
        facts: What the backend declares.
        folder: Where locks, build caches and engines of this machine are kept; ``None`` is a
            temporary folder.
        names: The devices as the user named them, "" for those that there are.
        threads: CPU threads of one inference, as the user named them.
        workers: Services that share a device.
        address: Where the executor's devices are, in its own terms.
    """

    source: SourceModel
    facts: BackendFacts
    folder: Path | None = None
    names: str = ""
    threads: int = 0
    workers: int = 1
    address: str = ""

    def devices(self) -> tuple[DeviceSpec, ...]:
        """The devices of this machine that were named; the one that an engine takes by itself.

        Raises:
            OptionError: What was named is no device, or not one that this process may use.
        """
        return named_devices(self.names, self.facts, self.threads)
