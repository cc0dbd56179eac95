"""From a lowered ONNX model to a serialized engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from precsearch.backends.tensorrt.building.precision_constraints import (
    ConstraintMode,
    apply_precisions,
    constraint_modes,
)
from precsearch.backends.tensorrt.building.profiles import (
    Shapes,
    add_profiles,
    drop_shared_names,
)
from precsearch.backends.tensorrt.building.timing_cache import (
    KeptCache,
    overwrite,
    read_tactics,
)
from precsearch.backends.tensorrt.capabilities import Caps
from precsearch.backends.tensorrt.inspector import EngineLayer
from precsearch.backends.tensorrt.layer_names import node_outputs
from precsearch.backends.tensorrt.listing import read_listing
from precsearch.backends.tensorrt.logger import Lines
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.core.errors import BuildError, OptionError
from precsearch.lowering.engines.annotate import Annotation

__all__ = ["Built", "EngineBuilder"]

_CONTRADICTION = ("marked as an int8 node", "could not find any implementation")
_MEMORY = ("outofmemory", "out of memory", "insufficient memory", "cuda_error_out_of_memory")


@dataclass(frozen=True)
class Built:
    """An engine and what is known of its making.

    Attributes:
        engine: Serialized.
        nodes: Names of the model's nodes.
        warnings: The builder's, shortened.
        layers: Of the engine, where the builder lists them (TensorRT-RTX does).
    """

    engine: bytes
    nodes: tuple[str, ...]
    warnings: tuple[str, ...]
    layers: tuple[EngineLayer, ...] = ()


class EngineBuilder:
    """Builds engines that share one timing cache.

    The cache is one object for all builds of a process: a kernel that an earlier engine needed is
    not timed again.

    Args:
        trt: The module.
        caps: What it can do.
        knobs: How to build.
        logger: Keeps what TensorRT says in ``lines``.
        lines: See there.
        weak: Whether precision is set layer by layer, see `precsearch.core.backend.WEAK`.
        target: Compute capability to build for, such as ``SM89``; "" is the GPU of this machine.
        kept: File that the cache is read from and written to. On TensorRT 8.6 it saves most of the
            next process's first build of a CNN, and nothing of a transformer's: what Myelin
            writes into a cache it cannot read back ("myelinCache.h::deserializeFromBuffer").
    """

    def __init__(
        self,
        trt: Any,  # noqa: ANN401 - TensorRT's bindings have no types
        caps: Caps,
        knobs: TensorRtOptions,
        logger: Any,  # noqa: ANN401
        lines: Lines,
        *,
        weak: bool,
        target: str = "",
        kept: Path | None = None,
    ) -> None:
        self._trt = trt
        self._caps = caps
        self._knobs = knobs
        self._logger = logger
        self._lines = lines
        self._weak = weak
        self._target = target
        self._kept = KeptCache(kept)
        self._cache: Any = None
        self._records = caps.editable_cache and knobs.record_tactics
        self._held: Mapping[str, str] = {}

    def hold(self, tactics: Mapping[str, str]) -> None:
        """Keep later builds to these tactics, see `tactics`, wherever TensorRT takes them."""
        self._held = dict(tactics) if self._records else {}

    def tactics(self) -> dict[str, str]:
        """What was chosen by timing so far: key of a layer → hash of its tactic, hexadecimal.

        Empty where the version does not tell, or was not asked to.
        """
        return read_tactics(self._cache) if self._records and self._cache is not None else {}

    def build(self, model: bytes, folder: str, shapes: Sequence[Shapes]) -> Built:
        """Build an engine.

        Args:
            model: The lowered model, serialized.
            folder: Where its external weights are, "" without any.
            shapes: Sets of input shapes that it must take.

        Raises:
            BuildError: TensorRT cannot start here, or refused the model; the message is its own. Or
                the model is a weak one, which this version would build in FP32.
            MemoryError: The device's memory did not suffice.
        """
        parsed = onnx.load_model_from_string(model)
        if not self._weak and Annotation.of(parsed):
            raise BuildError(
                f"the model says by name what runs in FP16, which TensorRT {self._caps.version} is "
                "told by types: it would run in FP32; make the plan with this version"
            )
        if drop_shared_names(parsed, shapes):
            model = parsed.SerializeToString()
        written = node_outputs(parsed)
        names = tuple(dict.fromkeys(written.values()))
        half = self._knobs.layer_precisions == "all"
        for manner in (
            constraint_modes(parsed, pin_half=half) if self._weak else (ConstraintMode(),)
        ):
            self._lines.clear()
            attempt = partial(self._attempt, model, folder, shapes, parsed, written, manner)
            engine = attempt()
            if engine is not None:
                engine = self._as_held(engine, attempt)
                if self._kept.path is not None:
                    self._kept.write(self.cache_bytes())
                messages = [*filter(None, [manner.said]), *self._lines.warnings]
                layers = read_listing(self._lines.layers)
                return Built(bytes(engine), names, tuple(messages), layers)
            if not any(word in self._said().lower() for word in _CONTRADICTION):
                break
        raise self._refusal()

    def _attempt(
        self,
        model: bytes,
        folder: str,
        shapes: Sequence[Shapes],
        parsed: onnx.ModelProto,
        written: Mapping[str, str],
        manner: ConstraintMode,
    ) -> Any:  # noqa: ANN401
        """An engine, or ``None``."""
        builder = self._started()
        network = builder.create_network(self._network_flags())
        self._parse(network, model, folder)
        config = builder.create_builder_config()
        self._configure(config)
        add_profiles(builder, network, config, shapes, self._said)
        if self._weak:
            half = self._knobs.layer_precisions == "all"
            apply_precisions(
                self._trt, network, config, parsed, written, pin_half=half, manner=manner
            )
        self._attach_cache(config)
        return builder.build_serialized_network(network, config)

    def _as_held(self, engine: Any, attempt: Callable[[], Any]) -> Any:  # noqa: ANN401
        """The engine, built again if it has other tactics than it is held to."""
        before = overwrite(self._trt, self._cache, self._held)
        if not before:
            return engine
        again = attempt()
        if again is not None:
            return again
        for key, value in before:  # TensorRT does not build with them: back to what it chose
            self._cache.update(key, value)
        return engine

    def _started(self) -> Any:  # noqa: ANN401
        try:
            return self._trt.Builder(self._logger)
        except TypeError as error:  # from pybind11: what TensorRT gave was null
            raise BuildError(f"TensorRT cannot start: {self._said()}") from error

    def cache_bytes(self) -> bytes:
        """The timing cache so far, serialized; empty before the first build."""
        return b"" if self._cache is None else bytes(self._cache.serialize())

    def _network_flags(self) -> int:
        kinds = self._trt.NetworkDefinitionCreationFlag
        flags = 0
        if self._caps.explicit_batch:
            flags |= 1 << int(kinds.EXPLICIT_BATCH)
        if not self._weak and self._caps.typed:
            flags |= 1 << int(kinds.STRONGLY_TYPED)
        return flags

    def _parse(self, network: Any, model: bytes, folder: str) -> None:  # noqa: ANN401
        parser = self._trt.OnnxParser(network, self._logger)
        # The path says where external weights are; the file itself is not read.
        path = [str(Path(folder) / "model.onnx")] if folder else []
        if not parser.parse(model, *path):
            errors = (parser.get_error(i) for i in range(parser.num_errors))
            message = "; ".join(" ".join(e.desc().split()) for e in errors)
            raise BuildError(f"TensorRT's ONNX parser refuses the model: {message or self._said()}")

    def _configure(self, config: Any) -> None:  # noqa: ANN401
        trt, knobs = self._trt, self._knobs
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, knobs.workspace_mib << 20)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if self._caps.targets:
            self._aim(config)
        else:
            config.builder_optimization_level = knobs.optimization_level
            config.avg_timing_iterations = knobs.timing_iterations
        change = config.set_flag if knobs.tf32 else config.clear_flag
        change(trt.BuilderFlag.TF32)
        if knobs.tactic_sources != "default":
            config.set_tactic_sources(self._tactic_sources())
        if self._records:
            config.set_flag(trt.BuilderFlag.EDITABLE_TIMING_CACHE)

    def _aim(self, config: Any) -> None:  # noqa: ANN401
        """Build for one compute capability: for all of them no type is refused that some lack."""
        known = self._trt.ComputeCapability
        if self._target and not hasattr(known, self._target):
            offered = sorted(n.lower() for n in dir(known) if n.startswith("SM"))
            raise OptionError(
                f"TensorRT-RTX {self._caps.version} does not build for {self._target.lower()}; use "
                f"one of {', '.join(offered)}"
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(known, self._target or "CURRENT"), 0)

    def _tactic_sources(self) -> int:
        mask = 0
        for name in filter(None, self._knobs.tactic_sources.split("+")):
            if name == "none":
                continue
            source = getattr(self._trt.TacticSource, name.upper(), None)
            if source is None:
                raise OptionError(
                    f"TensorRT {self._caps.version} has no tactic source {name!r}; leave it out of "
                    "the build option tactic_sources"
                )
            mask |= 1 << int(source)
        return mask

    def _attach_cache(self, config: Any) -> None:  # noqa: ANN401
        if self._caps.targets:
            return
        written = self._kept.read()
        if self._cache is None:
            self._cache = config.create_timing_cache(written.pop(0) if written else b"")
        for other in written:
            # Another worker of this device has built since, or an equal device. What is in both
            # caches stays as it was here; one of another kind or version is refused, and left.
            self._cache.combine(config.create_timing_cache(other), ignore_mismatch=False)
        # Who holds a build to tactics has made sure that the device is the same.
        if not config.set_timing_cache(self._cache, ignore_mismatch=bool(self._held)):
            # Of another version or device, then.
            self._cache = config.create_timing_cache(b"")
            config.set_timing_cache(self._cache, ignore_mismatch=False)

    def _said(self) -> str:
        return "; ".join(self._lines.errors[-3:]) or "it does not say why"

    def _refusal(self) -> BuildError | MemoryError:
        message = self._said()
        if any(word in message.lower() for word in _MEMORY):
            return MemoryError(message)
        return BuildError(f"TensorRT could not build the engine: {message}")
