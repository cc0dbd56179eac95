"""How a child process is started: nothing of the working directory is imported in it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from multiprocessing.spawn import get_executable

from precsearch._start import named_paths
from precsearch.core.device import DeviceSpec

__all__ = ["Launch", "command", "environment"]

Launch = Callable[[dict[str, object]], list[str]]
"""The command line of a child, from what `precsearch.executors.process.serve.serve` is given."""

_VISIBLE = "CUDA_VISIBLE_DEVICES"

_BOOT = (
    # Nothing is imported before '' is gone, which stands for the working directory: `sys` is built
    # into the interpreter. Then the parent's path is the child's, so that plug-ins are found.
    "import sys; sys.path[:] = [p for p in sys.path if p]; "
    "import json; given = json.loads(sys.argv.pop()); sys.path[:] = given['path']; "
    # Before any library counts the cores, or starts threads on all of them.
    "import os; given['cores'] and os.sched_setaffinity(0, given['cores']); "
    "from precsearch.executors.process.serve import serve; serve(given['preload'], given['memory'])"
)


def command(options: Mapping[str, object]) -> list[str]:
    """The command line of a child.

    Args:
        options: What `precsearch.executors.process.serve.serve` is given, as data for JSON.
    """
    # From Python 3.11 on the interpreter itself leaves the working directory out.
    flags = ["-P"] if sys.version_info >= (3, 11) else []
    given = json.dumps({"cores": [], **options, "path": _inherited(sys.path)})
    return [get_executable(), *flags, "-c", _BOOT, given]


def environment(device: DeviceSpec = DeviceSpec()) -> dict[str, str]:  # noqa: B008 - it is frozen
    """The parent's, in which no entry of ``PYTHONPATH`` stands for the working directory.

    Args:
        device: Of several GPUs, the child sees this one alone, and as the first.
    """
    env = dict(os.environ)
    if device.kind == "gpu" and device.index:
        seen = [d for d in env.get(_VISIBLE, "").split(",") if d.strip()]
        env[_VISIBLE] = seen[device.index] if device.index < len(seen) else str(device.index)
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = named_paths(env)
    return env


def _inherited(path: list[str]) -> list[str]:
    """The parent's path without ``''``; what is relative is meant from where the parent is."""
    return [os.path.abspath(p) for p in path if p]  # noqa: PTH100 - an entry may be any string
