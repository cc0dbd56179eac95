"""The parent's end of one child process, from its start to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from precsearch.core.device import DeviceSpec
from precsearch.core.errors import WorkerMissing
from precsearch.executors.process.start import Launch, command, environment
from precsearch.executors.process.wire import GRACE_S, GREETING, Frame, exactly, load, receive, send

__all__ = ["Child"]

_PIPE_BYTES = 1 << 19  # models are tens of megabytes: fewer switches between the processes
_LOG_BYTES = 1 << 16
_POLL_S = 0.01


class Child:
    """One process, from its start to its end.

    Raises:
        WorkerMissing: It cannot be started.
    """

    def __init__(
        self, options: Mapping[str, object], device: DeviceSpec, launch: Launch | None = None
    ) -> None:
        self.stage = "start"
        self.killed_for = ""
        self.far = launch is not None
        self._greeted = False
        self._printed = bytearray()
        self._guard = threading.Lock()  # nothing is sent to a process id that was waited for
        self.process = _start(options, device, launch or command)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests: BinaryIO = self.process.stdin  # type: ignore[assignment]
        self._replies: BinaryIO = self.process.stdout  # type: ignore[assignment]
        self._drain = threading.Thread(target=self._keep_log, daemon=True)
        self._drain.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs and may be asked."""
        with self._guard:
            return not self.killed_for and self.process.poll() is None

    def ask(self, request: Frame, heard: Callable[[str], None]) -> tuple[str, Any]:
        """The reply: ``result`` or ``error``, and which.

        Args:
            request: What is asked.
            heard: Told every stage that the child announces meanwhile.

        Raises:
            EOFError: The child is gone.
            OSError: The pipe to the child broke.
        """
        send(self._requests, request)
        if not self._greeted:  # whatever starts with the interpreter may have printed before
            seen = bytearray()
            while not seen.endswith(GREETING):
                seen += exactly(self._replies, 1)
            self._greeted = True
        while True:
            kind, value = load(receive(self._replies))
            if kind != "stage":
                return kind, value
            self.stage = value
            heard(value)

    def outwait(self) -> None:
        """Let a child that hung up end by itself, so that its return code tells why.

        A child whose worker is on another host ends only after its streams did.
        """
        end = time.monotonic() + GRACE_S
        while self.alive and time.monotonic() < end:
            time.sleep(_POLL_S)

    def kill(self, reason: str) -> None:
        """Kill the process group; from any thread."""
        with self._guard:
            if self.process.returncode is not None:
                return
            self.killed_for = self.killed_for or reason
            with suppress(ProcessLookupError, PermissionError):
                if sys.platform == "win32":
                    self.process.kill()
                else:  # the child may be dead already, what it started may not
                    os.killpg(self.process.pid, signal.SIGKILL)

    def reap(self, grace_s: float = 10.0) -> None:
        """Wait for the end, which a stuck driver can put off for ever."""
        with self._guard, suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        self._drain.join(1.0)
        for stream in (self._requests, self._replies):
            with suppress(OSError):  # what was not sent
                stream.close()

    def end(self) -> None:
        """Let it finish, or kill it."""
        if self._greeted:
            with suppress(OSError):
                self._requests.close()
            with self._guard, suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_S)
        self.kill("stopped")
        self.reap()

    def log(self) -> str:
        """The end of what it printed."""
        return self._printed.decode(errors="replace")

    def _keep_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            while data := os.read(stream.fileno(), 1 << 14):
                self._printed = (self._printed + data)[-_LOG_BYTES:]


def _start(
    options: Mapping[str, object], device: DeviceSpec, launch: Launch
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            launch({**options, "cores": list(device.cores)}),
            env=environment(device),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
            pipesize=_PIPE_BYTES,
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WorkerMissing(
            f"no worker process can be started: {reason}; raise the limits of this machine on "
            "files, processes and memory (ulimit -a)"
        ) from error
