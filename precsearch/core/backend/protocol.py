"""What precsearch needs of an inference engine: the `Backend` and `Session` protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from precsearch.core.backend.facts import BackendFacts
from precsearch.core.precision import Precision
from precsearch.core.quantization import GraphForm, QuantScheme

__all__ = [
    "CPU_USE",
    "GPU_USE",
    "Array",
    "Backend",
    "BackendOptions",
    "ChoosesFp32",
    "ChoosesTactics",
    "DeclaresUse",
    "DeviceUse",
    "Feed",
    "Fingerprint",
    "Fp32Mode",
    "KeepsNotes",
    "KernelTime",
    "Session",
    "fp32_words",
]

Array = npt.NDArray[np.generic]
Feed = Mapping[str, Array]
"""Input (or output) name → array."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Where a measurement was made: versions and device, compared before a replay is judged."""

    backend: str
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    features: tuple[str, ...] = ()

    @property
    def runtime(self) -> str:
        """What runs engines, with its versions: what latencies depend on beside the device."""
        return ", ".join(f"{n} {v}" for n, v in sorted(self.versions.items()) if n != "numpy")


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Build knobs, recorded in the plan by name.

    Attributes:
        threads: CPU threads of one inference; 0 is the number of physical cores.
        model_folder: Folder that external weights are relative to; never recorded.
        shapes: Sets of input shapes that will be run, the one of the data first.
        cache: File in which a backend may keep what makes the next build faster; never recorded.
        build: What this backend alone knows, by name.
        scratch: Folder of this run alone, in which a backend may keep files; never recorded.
    """

    threads: int = 0
    model_folder: str = ""
    shapes: tuple[Mapping[str, tuple[int, ...]], ...] = ()
    build: Mapping[str, str] = field(default_factory=dict)
    cache: str = ""
    scratch: str = ""


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel of an engine's profile.

    Attributes:
        nodes: Names of the ONNX nodes that it computes; of a fused kernel, those that are known.
        op_type: The kernel's own operator, e.g. ``QLinearConv``.
        seconds: Time of one inference, median over the profiled ones.
        precision: What it computes in, ``None`` where the engine does not tell.
        converts: Whether it only changes the type or the memory layout of a tensor.
    """

    nodes: tuple[str, ...]
    op_type: str
    seconds: float
    precision: Precision | None = None
    converts: bool = False


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """How the stages of a measurement use a device that several workers share.

    The stages are ``reference``, ``calibrate``, ``screen``, ``proxy``, ``build``, ``run`` and
    ``time``. Stages in neither set go on side by side.

    Attributes:
        alone: Stages that want the device alone.
        elsewhere: Stages that do not use it, and go on whoever has it.
    """

    alone: frozenset[str] = frozenset({"time"})
    elsewhere: frozenset[str] = frozenset()


CPU_USE = DeviceUse()
"""On a CPU everything else disturbs whoever times; builds go on side by side."""

GPU_USE = DeviceUse(
    alone=frozenset({"build", "time"}),
    elsewhere=frozenset({"reference", "calibrate", "screen", "proxy"}),
)
"""A builder that chooses kernels by timing must not be disturbed; the rest runs on the CPU."""


@runtime_checkable
class DeclaresUse(Protocol):
    """A backend that is not to be treated as `CPU_USE` where several workers share its device."""

    use: DeviceUse


@runtime_checkable
class Session(Protocol):
    """An engine that is ready to run. Not thread-safe."""

    def run(self, feed: Feed) -> dict[str, Array]:
        """The outputs for one feed, by output name.

        Raises:
            RunError: The engine failed.
        """
        ...

    def time(self, feed: Feed, repeats: int) -> list[float]:
        """Device seconds of each of ``repeats`` inferences in a row.

        Raises:
            RunError: The engine failed.
        """
        ...

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """The kernels of one inference; empty if the backend cannot tell. At most once a session.

        Raises:
            RunError: The engine failed.
        """
        ...

    def close(self) -> None:
        """Free it."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A way to build and run ONNX models. Constructed with `BackendOptions` in the worker."""

    name: str
    precisions: frozenset[Precision]
    """What it truly runs."""
    refusal: str
    """Why it does not run the others, as half a sentence."""
    scheme: QuantScheme
    form: GraphForm
    """What it builds from."""
    facts: BackendFacts
    """Read it through `facts_of`, which also knows the plug-ins of the last release."""

    def fingerprint(self) -> Fingerprint:
        """Versions and device."""
        ...

    def build(self, model: bytes) -> bytes:
        """An engine from a lowered ONNX model.

        Raises:
            BuildError: The model was refused.
        """
        ...

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:
        """Make an engine ready; ``profiled`` if `Session.profile` will be called.

        Raises:
            BuildError: The engine was refused.
        """
        ...

    def warnings(self, artifact: bytes) -> tuple[str, ...]:
        """What its making or timing gave rise to say, a sentence each; mostly nothing."""
        ...

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """What an engine is made of, a line each: equal for engines of equal kernels.

        Empty where an engine is its model.

        Raises:
            BuildError: The engine was refused.
        """
        ...

    def scheme_named(self, name: str) -> QuantScheme:
        """The scheme of a plan that may have been made on another machine.

        Raises:
            OptionError: There is none of this name.
        """
        ...

    def form_named(self, name: str) -> GraphForm:
        """The graph form of a plan that may have been made with another version.

        Raises:
            OptionError: There is none of this name.
        """
        ...


@runtime_checkable
class ChoosesTactics(Protocol):
    """A backend that chooses kernels by timing, and can tell and be told which ones."""

    def tactics(self) -> Mapping[str, str]:
        """All that was chosen so far, by names that hold on this device and these versions."""
        ...

    def hold(self, tactics: Mapping[str, str]) -> None:
        """Keep later builds to these wherever they can be had."""
        ...


@runtime_checkable
class KeepsNotes(Protocol):
    """A backend that knows more of an engine than its bytes tell, such as its warnings."""

    def notes_of(self, artifact: bytes) -> bytes:
        """What is known of an engine, for `learn` in another process; empty if nothing is."""
        ...

    def learn(self, artifact: bytes, notes: bytes) -> None:
        """Take what another process knew of an engine."""
        ...


@dataclass(frozen=True, slots=True)
class Fp32Mode:
    """A way in which a backend computes what is asked for in FP32.

    Attributes:
        name: ``strict``, or the format that products are rounded to, such as ``tf32``; recorded.
        significand_bits: Of the factors of a product, the hidden one counted: 24 for strict FP32,
            11 for TF32.
        build: Build options that choose it, by name.
    """

    name: str
    significand_bits: int
    build: Mapping[str, str] = field(default_factory=dict)


def fp32_words(mode: str) -> str:
    """What people call FP32 in a mode: ``FP32`` alone where the backend has one way to compute."""
    return {"": "FP32", "strict": "strict FP32"}.get(mode, mode.upper())


@runtime_checkable
class ChoosesFp32(Protocol):
    """A backend that may compute FP32 in a coarser format, and can be told not to."""

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """The ways there are on this device, first the one that the options choose.

        Raises:
            OptionError: The backend is not installed, or does not load here.
        """
        ...
