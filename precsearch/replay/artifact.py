"""What is shipped: the lowered model, or the engine that a backend compiled from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from precsearch.core.backend import Fingerprint
from precsearch.core.errors import PlanError
from precsearch.executors.open import open_executor
from precsearch.executors.protocol import Channel
from precsearch.lowering.lower import Lowered
from precsearch.measurement.build_service import (
    BUILD_LIMIT_S,
    BuildService,
    Engine,
    open_build_service,
)
from precsearch.plan.plan import Plan
from precsearch.replay.achieved import asked_and_ran
from precsearch.replay.portable import portable_suffixes
from precsearch.replay.weights import write_model
from precsearch.setup.files import write_bytes
from precsearch.setup.target import Target

__all__ = [
    "EDITED",
    "Replay",
    "built_otherwise",
    "is_engine",
    "other_place",
    "portable_files",
    "rebuilt",
    "tactics_here",
    "write_artifact",
]

EDITED = "the plan was edited; restore it or make it again with 'precsearch optimize'"
"""How a sentence about a plan that says nonsense ends."""

_SHOWN = 3
_TACTIC = re.compile("0x[0-9a-f]{16}")


def is_engine(target: Target, path: Path) -> bool:
    """Whether a file of this name is an engine, not a model of ONNX or the backend's own format."""
    model = path.suffix.lower() == ".onnx" or bool(portable_suffixes(target.backend, path))
    return not target.facts.artifact_is_model and not model


def write_artifact(
    target: Target,
    path: Path,
    lowered: Lowered,
    engine: Engine | None,
    put: Callable[[Path, bytes], None] = write_bytes,
) -> bytes:
    """Write the engine, or the lowered model, with all files that belong to it.

    Args:
        target: The model and its backend.
        path: Where.
        lowered: The model.
        engine: What was built from it, if that is wanted.
        put: Writes a file, and decides what may be replaced.

    Returns:
        What was written to ``path``.

    Raises:
        OutputError: It cannot be written.
        ModelError: The original weights cannot be read.
        EngineError: The backend does not write the model in its own format.
    """
    if portable_suffixes(target.backend, path):
        files = portable_files(target, path, lowered)
        for place, content in reversed(tuple(files.items())):
            put(place, content)
        return files[path]
    if engine is None or not is_engine(target, path):
        return write_model(target.source, path, lowered.model, put)
    put(path, engine.artifact)
    return engine.artifact


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
        if not plan.has_evidence:
            self.lines = tuple(differences)
            self.verdict = "same plan, kernels not compared"
            return
        expected, got = plan.evidence.tactics, engine.tactics
        others = [k for k, tactic in got.items() if expected.get(k) != tactic]
        self.lines = tuple(differences)
        if otherwise := built_otherwise(plan, engine):
            self.verdict = "same plan, other kernels"
            self.lines += (otherwise,)
            if expected and got:
                self.lines += (f"not the plan's tactics: {len(others)} of {len(got)}",)
            self.lines += ("measure it with 'precsearch verify --artifact FILE'",)
        else:
            self.verdict = "equivalent" if differences else "identical"


def built_otherwise(plan: Plan, engine: Engine) -> str:
    """What an engine has other than the one that a plan was measured with; "" for nothing."""
    if not plan.has_evidence:
        return "kernels were not compared: the plan's evidence is missing"
    if plan.evidence.engine == engine.layer_summary:
        return ""
    changed = sorted(set(engine.layer_summary) - set(plan.evidence.engine))
    shown = "; ".join(changed[:_SHOWN])
    return f"{len(changed)} of {len(engine.layer_summary)} layers are built otherwise: {shown}"


@contextmanager
def _builder(target: Target) -> Iterator[Channel[BuildService]]:
    """A process that builds for the first device of this machine."""
    given = replace(target.options, model_folder="", cache="")
    with (
        open_executor(target.source, target.facts) as executor,
        executor.open(
            executor.devices()[0],
            open_build_service,
            target.factory,
            given,
            limit_s=BUILD_LIMIT_S,
        ) as worker,
    ):
        yield worker


def rebuilt(plan: Plan, target: Target, lowered: Lowered) -> Replay:
    """Build a plan's engine again, in a process of its own, and compare it.

    Where device and versions are the plan's it is held to the plan's tactics.

    Raises:
        PlanError: A tactic of the plan is none.
        OptionError: The backend is not installed here, or lacks a device.
        BuildError: It refuses the model.
        WorkerError: It crashed or took too long.
    """
    with _builder(target) as worker:
        where = worker.call(BuildService.fingerprint)
        differences = other_place(plan, where.device, dict(where.versions), where.features)
        tactics = tactics_here(plan, where)
        engine = worker.call(BuildService.make, lowered.model, tactics, lowered.products)
    found = Replay(plan, engine, differences)
    found.lines += asked_and_ran(lowered, engine.ran)
    return found


def tactics_here(plan: Plan, where: Fingerprint) -> dict[str, str]:
    """The plan's tactics, where they mean something: on its own device and versions.

    Raises:
        PlanError: One is not a 64-bit number in hexadecimal.
    """
    if not plan.has_evidence:
        return {}
    for key, tactic in plan.evidence.tactics.items():
        if not _TACTIC.fullmatch(tactic):
            raise PlanError(
                f"the plan's tactic of {key!r} is {tactic!r}, not 16 hexadecimal digits after 0x; "
                f"{EDITED}"
            )
    same = _builds_on(plan.evidence.fingerprint) == _builds_on(where)
    return dict(plan.evidence.tactics) if same else {}


def _builds_on(where: Fingerprint) -> object:
    """What a choice of kernels depends on."""
    versions = {name: v for name, v in where.versions.items() if name != "numpy"}
    return where.device, tuple(where.features), versions


def other_place(
    plan: Plan, device: str, versions: dict[str, str], features: tuple[str, ...]
) -> list[str]:
    """How this machine differs from the one that the plan was measured on, a sentence each."""
    if not plan.has_evidence:
        return []
    where = plan.evidence.fingerprint
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


def portable_files(target: Target, path: Path, lowered: Lowered) -> Mapping[Path, bytes]:
    """The files of a lowered model in the format of its backend, the named one first.

    They are made in a process of their own, for the input shapes of the target's options.

    Raises:
        OptionError: The backend is not installed here, or lacks a device.
        BuildError: It refuses the model.
        WorkerError: It crashed or took too long.
    """
    with _builder(target) as worker:
        files = worker.call(BuildService.portable, lowered.model)
    suffixes = portable_suffixes(target.backend, path)
    places = (path, *(path.with_suffix(suffix) for suffix in suffixes[1:]))
    return dict(zip(places, files, strict=True))
