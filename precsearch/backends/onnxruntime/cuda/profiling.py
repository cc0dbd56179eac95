"""What an engine's nodes ran in, and for how long, from ONNX Runtime's profile and optimized model.

Released builds of ONNX Runtime do not time kernels on the device: what a profile calls the time of
a node is how long its launch took. With CUDA_LAUNCH_BLOCKING=1, which CUDA reads once a process, a
launch takes until the kernel has ended; `precsearch.backends.onnxruntime.cuda.profile_process`
starts such a process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from precsearch.backends.onnxruntime.cuda.provider import (
    CUDA,
    Provider,
    SessionRequest,
    build_error,
    open_session,
    run_error,
)
from precsearch.backends.onnxruntime.fused_nodes import fused_nodes, uncomputed
from precsearch.backends.onnxruntime.node_events import (
    CONVERSIONS,
    NodeTime,
    node_times,
    read_profile,
)
from precsearch.core.backend import Feed, KernelTime
from precsearch.core.precision import Precision
from precsearch.reference.session import ort_errors

__all__ = ["EngineProfile", "engine_profile", "profiled"]

_STORED = "stored"
"""What stands for the operator of nodes whose value was computed when the session was opened."""
_MOVES = frozenset({"Cast", "MemcpyToHost", "MemcpyFromHost"})


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """What a profiled session gave.

    Attributes:
        times: Of each node of the optimized graph.
        fused: Name of each such node → names of the nodes of the model.
        stored: Names of nodes of the model that no node computes.
    """

    times: tuple[NodeTime, ...]
    fused: tuple[tuple[str, tuple[str, ...]], ...]
    stored: tuple[str, ...]

    def kernels(self) -> tuple[KernelTime, ...]:
        """The nodes as kernels; what only converts or moves has no precision of its own."""
        owned = dict(self.fused)
        rows = tuple(
            KernelTime(
                owned.get(t.name, ()) or (t.name,),
                t.op_type,
                t.seconds,
                None if t.op_type in _MOVES else t.float_precision,
                t.op_type in CONVERSIONS,
            )
            for t in self.times
        )
        return (*rows, KernelTime(self.stored, _STORED, 0.0)) if self.stored else rows

    def convolves_in(self, precision: Precision) -> bool:
        """Whether a convolution, fused or not, wrote this float format."""
        return any("Conv" in t.op_type and t.float_precision is precision for t in self.times)

    def fallbacks(self, provider: str) -> tuple[str, ...]:
        """Nodes that compute floats and ran elsewhere, as the model calls them where it does."""
        owned = dict(self.fused)
        return tuple(
            (owned.get(t.name) or (t.name,))[0]
            for t in self.times
            if t.provider != provider and t.op_type not in _MOVES and t.float_precision is not None
        )


def engine_profile(
    request: SessionRequest, feed: Feed, runs: int, provider: Provider = CUDA
) -> EngineProfile:
    """Open the model, run it ``runs`` times and once before, and read what was written.

    Args:
        request: The model; where it is profiled is chosen here.
        feed: What it runs on.
        runs: Runs that count.
        provider: What runs it.

    Raises:
        BuildError: ONNX Runtime refuses the model.
        RunError: It does not run.
        OutOfMemory: The device has too little memory.
        ResourceError: There is no room for the profile.
    """
    with tempfile.TemporaryDirectory(prefix="precsearch-") as folder:
        return _profiled_in(Path(folder), request, feed, runs, provider)


def _profiled_in(
    folder: Path, request: SessionRequest, feed: Feed, runs: int, provider: Provider
) -> EngineProfile:
    errors = ort_errors()
    optimized = folder / "optimized.onnx"
    asked = replace(request, profile=folder / "profile", optimized=optimized)
    try:
        try:
            session, _ = open_session(asked, provider)
        except errors:  # it may be the writing that failed, as of a model beyond 2 GB
            session, _ = open_session(replace(asked, optimized=None), provider)
    except errors as error:
        raise build_error(error) from error
    try:
        for _ in range(runs + 1):
            session.run(None, dict(feed))
    except errors as error:
        raise run_error(error) from error
    times = node_times(read_profile(Path(session.end_profiling())))
    if not optimized.exists():
        return EngineProfile(times, (), ())
    model = onnx.load(str(optimized), load_external_data=False)
    return profiled(onnx.load_model_from_string(request.model), model, times)


def profiled(
    lowered: onnx.ModelProto, optimized: onnx.ModelProto, times: Sequence[NodeTime]
) -> EngineProfile:
    """The times of an optimized model's nodes with the nodes that they stand for."""
    fused = fused_nodes(lowered, optimized)
    return EngineProfile(tuple(times), tuple(fused.items()), uncomputed(lowered, fused))
