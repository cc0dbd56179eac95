"""A process in which CUDA waits for each kernel, so that a profile tells how long each one took.

It is started when the first engine is profiled, serves one request after the other, and ends with
the process that started it: its standard input closes then.

Messages are pickles between two processes of this program; nothing else can write to the pipe.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from precsearch.backends.onnxruntime.cuda.profiling import EngineProfile, engine_profile
from precsearch.backends.onnxruntime.cuda.provider import CUDA, Provider, SessionRequest, load_cuda
from precsearch.core.backend import Array, Feed
from precsearch.core.errors import DeviceLost, PrecsearchError, RunError

__all__ = ["ProfileProcess"]

_LIMIT_S = 20.0
"""Time for the process to end by itself."""


@dataclass(frozen=True, slots=True)
class _Asked:
    request: SessionRequest
    feed: dict[str, Array]
    runs: int
    provider: Provider


class ProfileProcess:
    """A handle on the process; it starts with the first request."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def profile(
        self, request: SessionRequest, feed: Feed, runs: int, provider: Provider = CUDA
    ) -> EngineProfile:
        """See `precsearch.backends.onnxruntime.cuda.profiling.engine_profile`.

        Raises:
            PrecsearchError: What it raises.
            RunError: The process ended, or its device was lost to it: ours is not.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(_Asked(request, dict(feed), runs, provider), process.stdin)
            process.stdin.flush()
            answer: object = pickle.load(process.stdout)  # noqa: S301 - our own process wrote it
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self.close()
            raise RunError("the process that profiles engines ended") from error
        if isinstance(answer, DeviceLost):
            self.close()
            raise RunError(str(answer))
        if isinstance(answer, PrecsearchError):
            raise answer
        assert isinstance(answer, EngineProfile)
        return answer

    @property
    def pids(self) -> tuple[int, ...]:
        """The process that runs, if one does."""
        return () if self._process is None else (self._process.pid,)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            root = str(Path(__file__).resolve().parents[4])
            known = os.environ.get("PYTHONPATH", "")
            path = os.pathsep.join(filter(None, [root, known]))
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "CUDA_LAUNCH_BLOCKING": "1", "PYTHONPATH": path},
            )
        return self._process

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        try:
            asked: Any = pickle.load(requests)  # noqa: S301 - our own process wrote it
        except EOFError:
            return
        answer: object
        try:
            if asked.provider == CUDA:
                load_cuda()
            answer = engine_profile(asked.request, asked.feed, asked.runs, asked.provider)
        except PrecsearchError as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _main() -> None:
    # What a library prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
