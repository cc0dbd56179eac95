"""A backend, a strategy and a metric that write to stdout in every way there is."""

from __future__ import annotations

import ctypes
import os
import sys

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.problem import Problem
from precsearch.core.strategy import Proposals
from precsearch.core.trial import Proposal

__all__ = ["Noisy", "NoisyBackend"]


def shout(who: str) -> None:
    """Print by Python, by the system and by the C library."""
    print(f"{who} by print", flush=True)
    sys.stdout.write(f"{who} by sys.stdout\n")
    if sys.__stdout__ is not None:
        sys.__stdout__.write(f"{who} by sys.__stdout__\n")
        sys.__stdout__.flush()
    os.write(1, f"{who} by write(1)\n".encode())
    libc = ctypes.CDLL(None)
    libc.puts(f"{who} by puts".encode())
    libc.fflush(None)


class NoisyBackend(OnnxRuntimeBackend):
    """Shouts where it is made, in the command and in the worker, and whenever it builds."""

    name = "noisy"

    def build(self, model: bytes) -> bytes:
        shout("backend")
        return super().build(model)

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        shout("backend")
        return super().layer_summary(artifact)


class Noisy:
    """Asks for the uniform engines, loudly."""

    def propose(self, problem: Problem, /) -> Proposals:
        shout("strategy")
        yield [Proposal(problem.space.uniform(p)) for p in problem.space.precisions]
        shout("strategy")
