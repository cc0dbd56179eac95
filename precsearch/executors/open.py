"""Opens the executor that a run asks for, or one for a command that searches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from precsearch.core.backend_facts import BackendFacts
from precsearch.core.device import DeviceSpec
from precsearch.executors.client import ReferenceClient, reference
from precsearch.executors.model_files import ModelFiles
from precsearch.executors.process.executor import ProcessExecutor
from precsearch.executors.protocol import Executor
from precsearch.graph.read import SourceModel

__all__ = ["executor_on", "open_executor", "worker_here"]


@contextmanager
def executor_on(
    devices: Sequence[DeviceSpec],
    source: SourceModel,
    folder: Path | None = None,
    *,
    workers: int = 1,
) -> Iterator[Executor]:
    """The executor of a run.

    Args:
        devices: The home device first.
        source: The model as read.
        folder: Where locks, build caches and engines are kept; ``None`` is a temporary folder.
        workers: Services that share a device.
    """
    # Lowering, in this process, must not disturb who times on the cores of a device.
    shared = workers > 1 or (len(devices) > 1 and devices[0].kind == "cpu")
    made = ProcessExecutor(devices, ModelFiles.of(source), folder, shared=shared)
    try:
        yield made
    finally:
        made.close()


def open_executor(source: SourceModel, facts: BackendFacts) -> AbstractContextManager[Executor]:
    """An executor on the device that an engine takes by itself.

    Args:
        source: The model as read.
        facts: What its backend declares.
    """
    return executor_on((DeviceSpec(kind=facts.device),), source)


@contextmanager
def worker_here(source: SourceModel, facts: BackendFacts) -> Iterator[ReferenceClient]:
    """A worker on that device, for commands that search nothing.

    Args:
        source: The model as read.
        facts: What its backend declares.

    Raises:
        WorkerMissing: No process can be started.
    """
    with open_executor(source, facts) as executor, reference(executor) as worker:
        yield worker
