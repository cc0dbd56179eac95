"""What a backend declares about itself, so that no other part asks for backends by name."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from precsearch.core.precision import Precision

__all__ = [
    "COMPILED",
    "BackendFacts",
    "BuildsAhead",
    "LimitsPrecisions",
    "SharesPlans",
    "TellsPrecisions",
    "facts_of",
]

_SLOW_TRIAL_S = 1800.0
"""One transformer with implicit INT8 took TensorRT 363 s to build."""


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """Facts about a backend's engines. The defaults are those of ONNX Runtime on a CPU.

    Attributes:
        builds_are_expensive: A build takes from seconds to minutes. The FP32 engine is then built
            while the reference runs, proxies are emulated, and a dry run builds no engine.
        artifact_is_model: The artifact is the lowered model itself, so that a plan is shipped as an
            ONNX file and a rebuilt engine needs no comparison.
        keep_artifacts: An artifact is kept in the artifact store instead of being built again.
        clock_ramps_up: An idle device takes some tenths of a second to reach its clock rate, so
            that timing warms it up for longer.
        trial_limit_s: Seconds that one trial may take.
        can_be_cut: `precsearch diagnose` reads inner tensors by building the engine again with
            more outputs, in a worker. Otherwise it opens the lowered model with more outputs.
        unlisted_node: Precision that a node ran in if no kernel of the profile names it; ``None``
            if that is unknown.
        device: Kind of device that engines run on, ``cpu`` or ``gpu``.
        exporter: Name of the exporter that writes scripts for plans of this backend; "" if there
            is none.
        offered: Precisions that a search offers unless it is told which; empty for all that the
            backend runs.
        rewrites: Names of exact rewrites that every model goes through first, where they fit: the
            engine fuses these nodes itself, whatever precisions they are given.
    """

    builds_are_expensive: bool = False
    artifact_is_model: bool = True
    keep_artifacts: bool = False
    clock_ramps_up: bool = False
    trial_limit_s: float = 600.0
    can_be_cut: bool = False
    unlisted_node: Precision | None = Precision.FP32
    device: str = "cpu"
    exporter: str = ""
    offered: frozenset[Precision] = frozenset()
    rewrites: tuple[str, ...] = ()


COMPILED = BackendFacts(
    builds_are_expensive=True,
    artifact_is_model=False,
    keep_artifacts=True,
    clock_ramps_up=True,
    trial_limit_s=_SLOW_TRIAL_S,
    can_be_cut=True,
    unlisted_node=None,
    device="gpu",
    exporter="tensorrt",
)
"""A builder of GPU engines that chooses kernels by timing, such as TensorRT."""


def facts_of(backend: object) -> BackendFacts:
    """The facts of a backend; for one release also of a plug-in that has ``compiles`` instead.

    Args:
        backend: A `precsearch.core.backend.Backend` or its class.
    """
    declared = _declared(backend)
    if "compiles" not in declared:
        facts = getattr(backend, "facts", BackendFacts())
        assert isinstance(facts, BackendFacts), "a backend's facts are BackendFacts"
        return facts
    compiles = bool(getattr(backend, "compiles", False))
    name = getattr(backend, "name", type(backend).__name__)
    warnings.warn(
        f"the backend {name!r} declares 'compiles'; precsearch reads 'facts' from the next release "
        "on (precsearch.core.backend.BackendFacts)",
        DeprecationWarning,
        stacklevel=2,
    )
    return replace(COMPILED, exporter="", device="cpu") if compiles else BackendFacts()


def _declared(backend: object) -> Mapping[str, object]:
    """Attributes of the most derived class that declares facts, in either form."""
    kind = backend if isinstance(backend, type) else type(backend)
    for each in (getattr(backend, "__dict__", {}), *(vars(base) for base in kind.__mro__)):
        if "facts" in each or "compiles" in each:
            return each
    return {}


@runtime_checkable
class LimitsPrecisions(Protocol):
    """A backend whose device may lack a precision that other devices of its kind have."""

    def unavailable(self, precisions: Collection[Precision]) -> str:
        """Why the device lacks one of these, a clause that names it; "" if it has them all.

        "" also where no device is here: a model can be inspected for one that is elsewhere.

        Raises:
            OptionError: The backend is not installed, or does not load here.
        """
        ...


@runtime_checkable
class TellsPrecisions(Protocol):
    """A backend whose engines tell what each product of a model runs in, below FP32 or not."""

    def precisions_of(
        self, artifact: bytes, products: Collection[str]
    ) -> Mapping[str, Precision | None]:
        """Node → precision that it runs in, of those products of an engine that its layers name.

        ``None`` where they do not tell, or no member of `Precision` stands for it.

        Args:
            artifact: The engine.
            products: Names of the products of its model.

        Raises:
            BuildError: The engine does not open, or its layers cannot be read.
        """
        ...

    def fused_attention(self, artifact: bytes) -> tuple[int, int]:
        """Attention cores that one kernel computes in an engine that this object built, of all."""
        ...


@runtime_checkable
class SharesPlans(Protocol):
    """A backend that builds plans of others whose graph form it takes."""

    shared_options: frozenset[str]
    """Build options that it takes from a plan that another backend made."""


@runtime_checkable
class BuildsAhead(TellsPrecisions, SharesPlans, Protocol):
    """A backend that builds engines for devices that are not here, and tells what they hold."""

    target: str
    """What engines are built for, such as ``sm89``; "" for the device of this machine."""
