"""`ProcessExecutor`: devices of this machine, a subprocess for each service."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from precsearch.core.device import DeviceSpec
from precsearch.executors.model_files import ModelFiles
from precsearch.executors.process.worker import Worker
from precsearch.executors.protocol import Executor
from precsearch.executors.request import Request
from precsearch.measurement.place import Place

__all__ = ["ProcessExecutor", "open_processes"]

_LOCK = "device.lock"
_BUILD_CACHE = "build.cache"
_ENGINES = "engines-"

Service = TypeVar("Service")


class ProcessExecutor(Executor):
    """See `precsearch.executors.protocol.Executor`.

    Args:
        devices: The home device first.
        files: The model and its external weights.
        folder: Where locks, build caches and engines are kept; ``None`` is a temporary folder.
        shared: Whether several services share a device, and take turns on it.
    """

    def __init__(
        self,
        devices: Sequence[DeviceSpec],
        files: ModelFiles,
        folder: Path | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self._devices = tuple(devices)
        self._files = files
        self._scratch = None
        if folder is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="precsearch-run-")
            folder = Path(self._scratch.name)
        self._folder = folder.resolve()
        self._shared = shared
        self._private: tempfile.TemporaryDirectory[str] | None = None

    def devices(self) -> Sequence[DeviceSpec]:
        """See `Executor.devices`."""
        return self._devices

    def open(
        self,
        device: DeviceSpec,
        make: Callable[..., Service],
        /,
        *args: object,
        limit_s: float = 3600.0,
    ) -> Worker[Service]:
        """See `Executor.open`."""
        return Worker(make, args, limit_s=limit_s, device=device, place=self.place(device))

    def lock(self, device: DeviceSpec) -> str | None:
        """See `Executor.lock`."""
        return self.place(device).lock

    def place(self, device: DeviceSpec) -> Place:
        """Where a service on a device finds and keeps its files."""
        # One device has the names that journals and users know; several have their own.
        mine = "" if len(self._devices) == 1 else f"-{device.file_stem}"
        folder = self._folder
        return Place(
            model=str(self._files.model),
            weights=str(self._files.weights or ""),
            build_cache=str(folder / f"{Path(_BUILD_CACHE).stem}{mine}.cache"),
            engines=self._own_folder(),
            lock=str(folder / f"{Path(_LOCK).stem}{mine}.lock") if self._shared else None,
        )

    def _own_folder(self) -> str:
        """A folder that nobody else has written to, for engines.

        A run directory may come from anyone (docs/threat-model.md), and an engine is code: what a
        run keeps is neither found by another run nor taken from one.
        """
        if self._private is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob(f"{_ENGINES}*"):  # by a run that was killed
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
            self._private = tempfile.TemporaryDirectory(
                prefix=_ENGINES, dir=self._folder, ignore_cleanup_errors=True
            )
        return self._private.name

    def close(self) -> None:
        """See `Executor.close`."""
        if self._private is not None:
            self._private.cleanup()
        if self._scratch is not None:
            self._scratch.cleanup()


def open_processes(request: Request) -> ProcessExecutor:
    """An executor on devices of this machine.

    Raises:
        OptionError: What was named is no device, or not one that this process may use.
    """
    devices = request.devices()
    # Lowering, in this process, must not disturb who times on the cores of a device.
    shared = request.workers > 1 or (len(devices) > 1 and devices[0].kind == "cpu")
    return ProcessExecutor(devices, ModelFiles.of(request.source), request.folder, shared=shared)
