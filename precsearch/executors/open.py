"""Opens the executor that a run asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from precsearch.core.backend_facts import BackendFacts
from precsearch.core.device import DeviceSpec
from precsearch.executors.client import ReferenceClient, reference
from precsearch.executors.model_files import ModelFiles
from precsearch.executors.process.executor import ProcessExecutor
from precsearch.executors.protocol import Executor
from precsearch.graph.read import SourceModel

__all__ = ["open_executor", "worker_here"]


@contextmanager
def open_executor(
    source: SourceModel, facts: BackendFacts, folder: Path | None = None, *, workers: int = 1
) -> Iterator[Executor]:
    """The executor of a run.

    Args:
        source: The model as read.
        facts: What its backend declares.
        folder: Where locks, build caches and engines are kept; ``None`` is a temporary folder.
        workers: Services that share a device.
    """
    devices = (DeviceSpec(kind=facts.device),)
    made = ProcessExecutor(devices, ModelFiles.of(source), folder, shared=workers > 1)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def worker_here(source: SourceModel, facts: BackendFacts) -> Iterator[ReferenceClient]:
    """A worker on this machine's own device, for commands that search nothing.

    Args:
        source: The model as read.
        facts: What its backend declares.

    Raises:
        WorkerMissing: No process can be started.
    """
    with open_executor(source, facts) as executor, reference(executor) as worker:
        yield worker
