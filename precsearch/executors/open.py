"""Opens the executor that a run asks for, or one for a command that searches nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points

from precsearch.core.backend.facts import BackendFacts
from precsearch.executors.client import ReferenceClient
from precsearch.executors.connect import reference
from precsearch.executors.protocol import Executor
from precsearch.executors.request import Request
from precsearch.graph.reading.read import SourceModel
from precsearch.registry import require_known

__all__ = ["executor_of", "executors", "open_executor", "worker_here"]

_EXECUTORS = {
    "process": "precsearch.executors.process.executor:open_processes",
    "ray": "precsearch.executors.ray.executor:open_ray",
    "ssh": "precsearch.executors.ssh:open_ssh",
}
"""What is shipped; loaded only when it is asked for."""


@contextmanager
def executor_of(request: Request) -> Iterator[Executor]:
    """The executor of a run, by the scheme of the request's address; "" is processes here.

    Args:
        request: What the run asks it for.

    Raises:
        OptionError: There is no such executor, it is not installed, or it lacks the devices.
    """
    scheme, _, _ = request.address.partition("://")
    known = executors()
    require_known("executor", scheme or "process", sorted(known))
    module, _, name = known[scheme or "process"].partition(":")
    opening: Callable[[Request], Executor] = getattr(importlib.import_module(module), name)
    executor = opening(request)
    try:
        yield executor
    finally:
        executor.close()


def executors() -> dict[str, str]:
    """Scheme of a ``--target`` → ``module:function`` that opens its executor.

    A package that declares an entry point ``mine = "my_pkg:open_mine"`` in ``precsearch.executors``
    makes ``--target mine://ADDRESS`` work.
    """
    entries = {e.name: e.value for e in entry_points(group="precsearch.executors")}
    return {**entries, **_EXECUTORS}


@contextmanager
def open_executor(source: SourceModel, facts: BackendFacts) -> Iterator[Executor]:
    """An executor on the device that an engine takes by itself.

    Args:
        source: The model as read.
        facts: What its backend declares.
    """
    with executor_of(Request(source, facts)) as executor:
        yield executor


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
