"""`Place`: where a service finds and keeps files on the host that it runs on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Paths on the host of one device. An executor makes it there; nothing else holds such paths.

    Attributes:
        model: The original model file, "" where it is not on this host.
        weights: Folder of the model's external weights, "" if it has none.
        build_cache: File in which a backend keeps what makes the next build faster, "" for none.
        engines: Folder of the device's artifact store, which nobody but the run writes to; "" for a
            temporary one.
        lock: File by which services that share the device take turns; ``None`` where one service
            has the device to itself.
    """

    model: str = ""
    weights: str = ""
    build_cache: str = ""
    engines: str = ""
    lock: str | None = None
