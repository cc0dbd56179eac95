"""The TensorRT backend. What ran on which version: docs/tensorrt-versions.md."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from precsearch.backends.tensorrt.achieved import attention_fused, products_ran
from precsearch.backends.tensorrt.building.builder import EngineBuilder
from precsearch.backends.tensorrt.building.unbuildable import refuse_unbuildable
from precsearch.backends.tensorrt.capabilities import Caps, import_tensorrt
from precsearch.backends.tensorrt.inspector import engine_layers
from precsearch.backends.tensorrt.installed import Installed, loaded
from precsearch.backends.tensorrt.notes import EngineNotes
from precsearch.backends.tensorrt.options import SHARED, TensorRtOptions
from precsearch.backends.tensorrt.runtime.cuda import Device
from precsearch.backends.tensorrt.runtime.engine import TensorRtSession
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.backends.tf32 import tf32_modes
from precsearch.core.backend import (
    GPU_USE,
    TYPED_HALF,
    WEAK,
    BackendOptions,
    Fingerprint,
    Fp32Mode,
    GraphForm,
    QuantScheme,
)
from precsearch.core.backend.facts import COMPILED
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.system.disturbance import Watch
from precsearch.system.gpu_neighbours import device_watch

__all__ = ["TensorRtBackend"]

_MAX_WARNINGS = 8
_RUN = frozenset({Precision.FP32, Precision.FP16, Precision.INT8})
_SINCE = {Precision.BF16: 80, Precision.FP8: 89, Precision.INT4: 80}
"""Compute capability, ten times, from which TensorRT-RTX 1.7.1 builds what not every GPU has.
Before, it refuses "HW-specific datatypes". Built, and never run by precsearch's own tests."""


class TensorRtBackend:
    """FP32, FP16 and INT8 on TensorRT.

    Constructing it loads nothing; a plan can be read, lowered and exported without TensorRT.

    Args:
        options: Shapes to build for, and
            `precsearch.backends.tensorrt.options.TensorRtOptions` by name.

    Raises:
        OptionError: A build option is unknown or makes no sense.
    """

    name = "tensorrt"
    precisions = _RUN | frozenset(_SINCE)
    refusal = "precsearch writes no other precision for it"
    facts = replace(COMPILED, offered=_RUN)
    use = GPU_USE
    shared_options = SHARED

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.knobs = TensorRtOptions.of(options.build)
        self._notes: dict[str, EngineNotes] = {}

    @cached_property
    def _here(self) -> Installed:
        here = loaded(self.name, import_tensorrt)
        _ = here.cuda  # without it nothing can be built: engines are chosen by timing
        return here

    @cached_property
    def _builder(self) -> EngineBuilder:
        here = self._here
        return EngineBuilder(
            here.trt,
            here.caps,
            self.knobs,
            here.logger,
            here.lines,
            weak=self.form is WEAK,
            kept=Path(self.options.cache) if self.options.cache else None,
        )

    @property
    def caps(self) -> Caps:
        """What the installed TensorRT can do.

        Raises:
            OptionError: It is not installed, or does not load here.
        """
        return self._here.caps

    @cached_property
    def form(self) -> GraphForm:
        """Typed wherever the installed version takes types, weak before.

        Raises:
            OptionError: TensorRT is not installed, does not load here, or can be told neither.
        """
        return TYPED_HALF if self.caps.typed else WEAK

    @cached_property
    def scheme(self) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme`; it depends on the graph form.

        Raises:
            OptionError: TensorRT is not installed, does not load here, or can be told neither types
                nor precisions.
        """
        return scheme(attention=not self.form.annotated)

    def form_named(self, name: str) -> GraphForm:
        """See `precsearch.core.backend.Backend.form_named`."""
        for form in (TYPED_HALF, WEAK):
            if form.name == name:
                return form
        raise OptionError(
            f"the tensorrt backend builds from no graph form {name!r}; use "
            f"{TYPED_HALF.name} or {WEAK.name}"
        )

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme_named`."""
        schemes = (scheme(add, attention=a) for add in ("decided", "both") for a in (False, True))
        known = {one.name: one for one in schemes}
        if name not in known:
            raise OptionError(
                f"the tensorrt backend has no quantization scheme {name!r}; use one of "
                f"{', '.join(sorted(known))}"
            )
        return known[name]

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.core.backend.Backend.fingerprint`."""
        device = self._device()
        return Fingerprint(
            backend=self.name,
            versions={
                "tensorrt": self.caps.version,
                "cuda driver": device.driver,
                "cuda runtime": device.runtime,
                "numpy": np.__version__,
            },
            device=f"{device.name}, compute capability {device.compute}",
            features=(f"{device.multiprocessors} multiprocessors", f"{device.memory >> 20} MiB"),
        )

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """See `precsearch.core.backend.ChoosesFp32.fp32_modes`: TF32 is there from Ampere on."""
        major = int(self._device().compute.partition(".")[0])
        return tf32_modes(major, "tf32", default=self.knobs.tf32)

    def unavailable(self, precisions: Collection[Precision]) -> str:
        """See `precsearch.core.backend.facts.LimitsPrecisions.unavailable`."""
        for precision in Precision.ordered(_SINCE.keys() & set(precisions)):
            if self.form.annotated:
                return (
                    f"TensorRT {self.caps.version} has no typed networks, which {precision} needs"
                )
            try:
                have, needed = self._capability(), _SINCE[precision]
            except OptionError:  # no device is here: what needs one, says so
                return ""
            if have < needed:
                reason = f"{precision} needs compute capability {needed / 10:.1f}"
                return f"{reason}, and engines are built for {have / 10:.1f}"
        return ""

    def _device(self) -> Device:
        """The GPU that is here.

        Raises:
            OptionError: There is none that can be used, or TensorRT or cuda-bindings is missing.
        """
        return self._here.cuda.device()

    def _capability(self) -> int:
        """Of the device that engines are built for, ten times: 89 for 8.9."""
        major, _, minor = self._device().compute.partition(".")
        return 10 * int(major) + int(minor)

    def watch(self) -> Watch:
        """See `precsearch.system.disturbance.Watches.watch`."""
        return device_watch()

    def build(self, model: bytes) -> bytes:
        """See `precsearch.core.backend.Backend.build`.

        Raises:
            BuildError: The model was refused.
            OptionError: Its author's Q/DQ has no form in a typed network.
        """
        proto = onnx.load_model_from_string(model)
        if not self.form.annotated:
            refuse_unbuildable(proto)
        built = self._builder.build(model, self.options.model_folder, self.options.shapes)
        fused = attention_fused(proto, built.layers)
        notes = EngineNotes(built.nodes, list(built.warnings), built.layers, fused)
        self._notes[_digest(built.engine)] = notes
        return built.engine

    def notes_of(self, artifact: bytes) -> bytes:
        """See `precsearch.core.backend.KeepsNotes.notes_of`."""
        notes = self._notes.get(_digest(artifact))
        return b"" if notes is None else notes.packed()

    def learn(self, artifact: bytes, notes: bytes) -> None:
        """See `precsearch.core.backend.KeepsNotes.learn`."""
        self._notes.setdefault(_digest(artifact), EngineNotes.unpacked(notes))

    def tactics(self) -> dict[str, str]:
        """See `precsearch.core.backend.ChoosesTactics.tactics`."""
        return self._builder.tactics()

    def hold(self, tactics: Mapping[str, str]) -> None:
        """See `precsearch.core.backend.ChoosesTactics.hold`."""
        self._builder.hold(tactics)

    def how_to_load(self, path: str) -> tuple[str, ...]:
        """See `precsearch.core.backend.portable.TellsHowToLoad.how_to_load`."""
        if path.endswith(".onnx"):
            return ()
        return (
            "import tensorrt; runtime = tensorrt.Runtime(tensorrt.Logger())",
            f"engine = runtime.deserialize_cuda_engine(open({path!r}, 'rb').read())",
            "context = engine.create_execution_context()",
        )

    def open(self, artifact: bytes, *, profiled: bool = False) -> TensorRtSession:
        """See `precsearch.core.backend.Backend.open`."""
        here = self._here
        here.lines.clear()
        engine, context = self._deserialized(artifact)
        notes = self._notes.setdefault(_digest(artifact), EngineNotes())
        layers = engine_layers(here.trt, engine, context) if profiled else ()
        notes.layers = notes.layers or layers
        return TensorRtSession(
            here.trt,
            here.cuda,
            engine,
            context,
            layers,
            notes.nodes,
            graphs=self.knobs.cuda_graph,
            warnings=notes.warnings,
        )

    def precisions_of(
        self, artifact: bytes, products: Collection[str]
    ) -> Mapping[str, Precision | None]:
        """See `precsearch.core.backend.TellsPrecisions.precisions_of`."""
        notes = self._notes.setdefault(_digest(artifact), EngineNotes())
        if not notes.layers:
            notes.layers = engine_layers(self._here.trt, *self._deserialized(artifact))
        return products_ran(products, notes.layers)

    def fused_attention(self, artifact: bytes) -> tuple[int, int]:
        """See `precsearch.core.backend.TellsPrecisions.fused_attention`."""
        return self._noted(artifact).fused

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.layer_summary`."""
        layers = engine_layers(self._here.trt, *self._deserialized(artifact))
        return tuple(sorted(layer.line for layer in layers))

    def _deserialized(self, artifact: bytes) -> tuple[Any, Any]:
        engine = self._here.deserialized(artifact)
        context = self._context(engine)
        if context is None:
            errors = self._here.lines.errors[-2:]
            raise MemoryError("; ".join(errors) or "no context for the engine")
        return engine, context

    def _context(self, engine: Any) -> Any:  # noqa: ANN401
        return engine.create_execution_context()

    def _noted(self, artifact: bytes) -> EngineNotes:
        return self._notes.get(_digest(artifact), EngineNotes())

    def warnings(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.warnings`."""
        notes = self._noted(artifact)
        return tuple(dict.fromkeys(notes.warnings))[:_MAX_WARNINGS]


def _digest(artifact: bytes) -> str:
    return hashlib.sha256(artifact).hexdigest()
