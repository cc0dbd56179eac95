"""What is settled in a process before anything else of it is imported.

This runs first, whichever module of precsearch is asked for, and imports only what every
interpreter has loaded by then.

- ONNX Runtime's telemetry is off, by the means that its ``Privacy.md`` documents: the variable
  ``ORT_DISABLE_TELEMETRY`` before it is loaded. Child processes inherit it.
- In a process that is precsearch's own (the command, or ``python -m precsearch``), modules are not
  looked for in the working directory: a ``json.py`` that lies there is a file like any other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

__all__ = ["TELEMETRY", "isolate", "named_paths", "no_telemetry"]

TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Documented in ``onnxruntime/Privacy.md``, since ONNX Runtime 1.29; older ones ignore it."""

_COMMAND = "precsearch"
_PATH = "PYTHONPATH"


def no_telemetry() -> None:
    """Switch ONNX Runtime's telemetry off, unless the user has decided otherwise."""
    if not os.environ.get(TELEMETRY):
        os.environ[TELEMETRY] = "1"


def named_paths(environment: Mapping[str, str]) -> str:
    """``PYTHONPATH`` without its empty entries, each of which means the working directory.

    ``PYTHONPATH=$PYTHONPATH:/opt/lib`` leaves one behind where the variable was not set before.
    """
    return os.pathsep.join(p for p in environment.get(_PATH, "").split(os.pathsep) if p)


def _is_module() -> bool:
    """Whether this process is ``python -m precsearch…``, which is about to run."""
    words = sys.orig_argv
    after = [*words[1:], ""]
    given = [b if a == "-m" else a[2:] for a, b in zip(words, after, strict=True) if a[:2] == "-m"]
    return sys.argv[:1] == ["-m"] and any(w.split(".")[0] == _COMMAND for w in given[:1])


def _is_command() -> bool:
    name = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - pathlib is not loaded
    return name in (_COMMAND, f"{_COMMAND}.exe", f"{_COMMAND}-script.py")


def isolate(
    path: list[str], here: str, root: str, environment: Mapping[str, str], *, module: bool
) -> None:
    """Take from ``path`` what stands there for the working directory alone.

    What names it otherwise stays: an entry of ``PYTHONPATH``, a ``.pth`` file.

    Args:
        path: As ``sys.path``; changed in place.
        here: The working directory.
        root: The folder that precsearch was imported from. If it is the working directory (a
            source tree that is not installed), it goes to the end, where it hides nothing.
        environment: Of the process.
        module: Whether Python put ``here`` first, as it does for ``-m``.
    """
    if module and path[:1] == [here]:
        del path[0]
    entries = environment.get(_PATH, "").split(os.pathsep)
    named = [os.path.abspath(p) for p in entries if p]  # noqa: PTH100 - pathlib is not loaded
    first = path[: len(entries) + 1]
    if len(named) < len(entries) > 1 and here in first and here not in named:
        del path[first.index(here)]
    if root == here and here not in path:
        path.append(root)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib is not loaded
    except OSError:  # it was removed
        return ""


no_telemetry()
if _is_module() or _is_command():
    _folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as above
    isolate(
        sys.path,
        _working_directory(),
        os.path.dirname(_folder),  # noqa: PTH120 - as above
        os.environ,
        module=_is_module() and not getattr(sys.flags, "safe_path", False),
    )
