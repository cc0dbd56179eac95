"""What is shipped: the lowered model, or the engine that a backend compiled from it."""

from __future__ import annotations

from pathlib import Path

from precsearch.api.files import copy_weights, write_bytes
from precsearch.api.setup import Target
from precsearch.maker import Engine, open_maker
from precsearch.onnxio.lower import Lowered
from precsearch.plan import Plan
from precsearch.workers import Worker

__all__ = ["Replay", "is_engine", "other_place", "rebuilt", "write_artifact"]

_BUILD_LIMIT_S = 3600.0
_SHOWN = 3


def is_engine(target: Target, path: Path) -> bool:
    """Whether a file of this name is an engine: for a backend that compiles, all but ``.onnx``."""
    return target.backend.compiles and path.suffix.lower() != ".onnx"


def write_artifact(target: Target, path: Path, lowered: Lowered, engine: Engine | None) -> None:
    """Write the engine, or the lowered model and its external weights.

    Raises:
        OutputError: It cannot be written.
    """
    if engine is not None and is_engine(target, path):
        write_bytes(path, engine.artifact)
    else:
        copy_weights(target.source, path)
        write_bytes(path, lowered.model)


class Replay:
    """How a rebuilt engine compares with the one that a plan was measured with.

    Attributes:
        engine: The new one.
        verdict: ``identical``: the same kernels on the same versions and device; ``equivalent``:
            the same kernels elsewhere; ``same plan, other kernels``: the model is byte for byte
            the plan's, the builder chose otherwise, and accuracy and latency are to be measured
            again.
        lines: What differs, a sentence each.
    """

    def __init__(self, plan: Plan, engine: Engine, differences: list[str]) -> None:
        self.engine = engine
        before, now = set(plan.evidence.engine), set(engine.anatomy)
        changed = sorted(now - before)
        self.lines = tuple(differences)
        if plan.evidence.engine != engine.anatomy:
            self.verdict = "same plan, other kernels"
            shown = "; ".join(changed[:_SHOWN])
            self.lines += (
                f"{len(changed)} of {len(engine.anatomy)} layers are built otherwise: {shown}",
                "measure it again with 'precsearch verify'",
            )
        else:
            self.verdict = "equivalent" if differences else "identical"


def rebuilt(plan: Plan, target: Target, lowered: Lowered) -> Replay:
    """Build a plan's engine again, in a process of its own, and compare it.

    Raises:
        OptionError: The backend is not installed here.
        BuildError: It refuses the model.
        WorkerError: It crashed or took too long.
    """
    with Worker(open_maker, (target.factory, target.options), limit_s=_BUILD_LIMIT_S) as worker:
        where = worker.call("fingerprint")
        differences = other_place(plan, where.device, dict(where.versions), where.features)
        return Replay(plan, worker.call("make", lowered.model), differences)


def other_place(
    plan: Plan, device: str, versions: dict[str, str], features: tuple[str, ...]
) -> list[str]:
    """How this machine differs from the one that the plan was measured on, a sentence each."""
    where = plan.evidence.where
    lines = []
    if where.device != device:
        lines.append(f"the plan was measured on {where.device}, this is {device}")
    if tuple(where.features) != tuple(features):
        lines.append(
            f"the plan was measured with {', '.join(where.features) or 'no known CPU features'}, "
            f"here there is {', '.join(features) or 'none of them'}"
        )
    lines += [
        f"{name} is {versions.get(name, 'missing')} here, {version} in the plan"
        for name, version in sorted(where.versions.items())
        if versions.get(name) != version
    ]
    return lines
