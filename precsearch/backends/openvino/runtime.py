"""Loading OpenVINO without its telemetry, and what its errors say."""

from __future__ import annotations

import importlib
import re
import sys
import threading
from functools import lru_cache
from typing import Any

from precsearch.core.errors import OptionError

__all__ = ["error_line", "import_openvino", "openvino_core", "openvino_errors"]

_TELEMETRY = "openvino_telemetry"
_LOCK = threading.Lock()
_SOURCE = re.compile(r"^(Exception from |Check '.*' failed at )\S+:\d+:?\s*")
_NOISE = ("[ GENERAL_ERROR ]", "Loading input model", "FrontEnd API failed with")


def import_openvino() -> Any:  # noqa: ANN401 - OpenVINO's bindings have no types
    """The module ``openvino``, loaded so that it reports nothing.

    Importing OpenVINO sends an event to Google Analytics and writes an identifier to
    ``~/intel``, unless the package ``openvino_telemetry`` is missing, for which OpenVINO has a
    stand-in of its own. The user-wide switch, ``opt_in_out --opt_out``, would write to the user's
    home, so the package is hidden while OpenVINO is loaded: nothing is sent and nothing is written.

    Raises:
        OptionError: OpenVINO is not installed, or does not load here.
    """
    with _LOCK:
        loaded = sys.modules.get("openvino")
        if loaded is not None:
            return loaded
        hidden = _TELEMETRY not in sys.modules
        if hidden:
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment] # "not importable"
        try:
            return importlib.import_module("openvino")
        except ModuleNotFoundError as error:
            raise OptionError(
                "the openvino backend needs OpenVINO: pip install 'precsearch[openvino]'"
            ) from error
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
            raise OptionError(
                f"OpenVINO is installed but does not load ({reason}); reinstall it with "
                "pip install --force-reinstall openvino"
            ) from error
        finally:
            if hidden:
                del sys.modules[_TELEMETRY]


@lru_cache(maxsize=1)
def openvino_core() -> Any:  # noqa: ANN401
    """The one ``openvino.Core`` of this process: each has plug-ins and thread pools of its own.

    Raises:
        OptionError: See `import_openvino`.
    """
    return import_openvino().Core()


def openvino_errors() -> tuple[type[Exception], ...]:
    """What OpenVINO's bindings raise."""
    return (RuntimeError, ValueError, TypeError, IndexError)


def error_line(error: Exception) -> str:
    """The message without the places in OpenVINO's sources, on one line."""
    lines = (_SOURCE.sub("", line.strip()) for line in str(error).splitlines())
    messages = [line for line in lines if line and not line.startswith(_NOISE)]
    return (" ".join(messages) or type(error).__name__)[:400]
