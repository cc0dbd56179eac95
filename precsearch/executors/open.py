"""Opens the executor that a run asks for, or one for a command that searches nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from precsearch.core.backend_facts import BackendFacts
from precsearch.executors.client import ReferenceClient, reference
from precsearch.executors.protocol import Executor
from precsearch.executors.request import Request
from precsearch.graph.read import SourceModel

__all__ = ["executor_of", "open_executor", "worker_here"]

_EXECUTORS = {
    "process": "precsearch.executors.process.executor:open_processes",
    "ray": "precsearch.executors.ray.executor:open_ray",
    "ssh": "precsearch.executors.ssh:open_ssh",
}
"""Name → what opens it; loaded only when it is asked for."""


@contextmanager
def executor_of(request: Request, kind: str = "process") -> Iterator[Executor]:
    """The executor of a run.

    Args:
        request: What the run asks it for.
        kind: Its name, a key of ``_EXECUTORS``.

    Raises:
        OptionError: It is not installed, or does not have the devices.
    """
    module, _, name = _EXECUTORS[kind].partition(":")
    opening: Callable[[Request], Executor] = getattr(importlib.import_module(module), name)
    made = opening(request)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def open_executor(source: SourceModel, facts: BackendFacts) -> Iterator[Executor]:
    """An executor on the device that an engine takes by itself.

    Args:
        source: The model as read.
        facts: What its backend declares.
    """
    with executor_of(Request(source, facts)) as made:
        yield made


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
