"""What TensorRT says while it works, kept for the trial that it is about."""

from __future__ import annotations

import sys
from typing import Any

from precsearch.backends.tensorrt.listing import is_layer

__all__ = ["Lines", "make_logger"]

_MOST = 200
_SHOWN = 300


class Lines:
    """Errors, warnings and descriptions of engine layers since the last `clear`."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.layers: list[str] = []

    def clear(self) -> None:
        """Forget them."""
        self.errors.clear()
        self.warnings.clear()
        self.layers.clear()

    def add(self, *, error: bool, text: str) -> None:
        """Keep a line, once, shortened."""
        line = " ".join(text.split())[:_SHOWN]
        kept = self.errors if error else self.warnings
        if line not in kept and len(kept) < _MOST:
            kept.append(line)

    def add_layer(self, text: str) -> None:
        """Keep what describes a layer of an engine (`precsearch.backends.tensorrt.listing`)."""
        self.layers += filter(is_layer, text.splitlines())


def make_logger(trt: Any, lines: Lines) -> Any:  # noqa: ANN401 - TensorRT's bindings have no types
    """A logger that keeps what it is told in ``lines``; one for a process, and never freed."""
    severity = trt.ILogger.Severity
    bad = (severity.INTERNAL_ERROR, severity.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, text: str) -> None:  # noqa: ANN401
            if level in bad:
                lines.add(error=True, text=text)
                print(text, file=sys.stderr)  # into the worker's log, should it die of this
            elif level == severity.WARNING:
                lines.add(error=False, text=text)
            elif level == severity.VERBOSE:
                lines.add_layer(text)

    return Logger()
