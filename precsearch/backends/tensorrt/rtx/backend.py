"""The TensorRT-RTX backend: builds ahead of time, for GPUs that need not be here.

What ran on which version: docs/tensorrt-versions.md. No engine of TensorRT-RTX has run yet in
precsearch's own tests: opening and timing one is TensorRT's code, with a runtime cache and with
all kernels compiled before the first inference.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.backends.tensorrt.building.builder import EngineBuilder
from precsearch.backends.tensorrt.installed import Installed, loaded
from precsearch.backends.tensorrt.rtx.bindings import import_rtx
from precsearch.backends.tensorrt.rtx.options import RtxOptions
from precsearch.backends.tensorrt.runtime.cuda import Device
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import (
    TYPED_HALF,
    BackendOptions,
    Fingerprint,
    Fp32Mode,
    GraphForm,
    QuantScheme,
)
from precsearch.core.errors import OptionError

__all__ = ["TensorRtRtxBackend"]

_NO_FP32_PRODUCTS = "sm75"
_HEADS_APART = 4
"""Dimensions of Q, K and V with one for the heads."""
_MOST_CACHE_BYTES = 1 << 30
_WITHOUT_A_GPU = (
    "without a GPU, 'precsearch build PLAN --backend tensorrt-rtx --target sm89' builds the engine "
    "of a plan for one in another machine"
)


class TensorRtRtxBackend(TensorRtBackend):
    """FP32, FP16 and INT8 on TensorRT-RTX; graphs are typed, as for TensorRT 10 and later.

    Constructing it loads nothing.

    Args:
        options: Shapes to build for, and `RtxOptions` by name.

    Raises:
        OptionError: A build option is unknown or makes no sense.
    """

    name = "tensorrt-rtx"
    facts = replace(TensorRtBackend.facts, exporter="")

    def __init__(self, options: BackendOptions) -> None:
        given = RtxOptions.of(options.build)
        super().__init__(BackendOptions(options.threads, cache=options.cache))
        self.options = options
        self.knobs = given.knobs
        self.target = given.target

    @cached_property
    def _here(self) -> Installed:
        return loaded(self.name, import_rtx)

    @cached_property
    def _builder(self) -> EngineBuilder:
        here = self._here
        return EngineBuilder(
            here.trt,
            here.caps,
            self.knobs,
            here.logger,
            here.lines,
            weak=False,
            target=self.target.upper(),
        )

    @property
    def form(self) -> GraphForm:
        """Typed, always: TensorRT-RTX has no other networks, installed or not."""
        return TYPED_HALF

    @property
    def scheme(self) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme`."""
        return scheme(rtx=True, attention=True)

    def form_named(self, name: str) -> GraphForm:
        """See `precsearch.core.backend.Backend.form_named`."""
        if name != TYPED_HALF.name:
            raise OptionError(
                f"the tensorrt-rtx backend builds from no graph form {name!r}, only from "
                f"{TYPED_HALF.name}"
            )
        return TYPED_HALF

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme_named`. TensorRT's schemes are known, too."""
        schemes = (
            scheme(add, rtx=True, attention=a) for add in ("decided", "both") for a in (False, True)
        )
        known = {one.name: one for one in schemes}
        return known[name] if name in known else super().scheme_named(name)

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.core.backend.Backend.fingerprint`; of a target, that it is not here."""
        versions = {"tensorrt-rtx": self.caps.version, "numpy": np.__version__}
        if self.target:
            return Fingerprint(self.name, versions, f"{self.target}, built for and not run on")
        here = super().fingerprint()
        rest = {n: v for n, v in here.versions.items() if n not in ("tensorrt", "numpy")}
        return Fingerprint(self.name, {**versions, **rest}, here.device, here.features)

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """See `precsearch.core.backend.ChoosesFp32.fp32_modes`."""
        if self.target == _NO_FP32_PRODUCTS:
            return (Fp32Mode("strict", 24, {"tf32": "false"}),)
        if self.target:
            strict, coarse = (
                Fp32Mode("strict", 24, {"tf32": "false"}),
                Fp32Mode("tf32", 11, {"tf32": "true"}),
            )
            return (coarse, strict) if self.knobs.tf32 else (strict, coarse)
        return super().fp32_modes()

    def build(self, model: bytes) -> bytes:
        """See `precsearch.core.backend.Backend.build`.

        Raises:
            BuildError: The model was refused.
            OptionError: It has an operator that the target lacks in FP32, or Q/DQ without a form.
                Or no target is given, and no GPU is here.
        """
        if not self.target:
            self._device()
        if self.target == _NO_FP32_PRODUCTS:
            _refuse_fp32_products(model)
        _refuse_fp32_attention(model)
        return super().build(model)

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.layer_summary`.

        Of an engine that this object built, from the builder's log; otherwise it must be opened.
        """
        layers = self._noted(artifact).layers
        if not layers:
            return super().layer_summary(artifact)
        return tuple(sorted(layer.line for layer in layers))

    def _device(self) -> Device:
        try:
            return super()._device()
        except OptionError as error:
            raise OptionError(f"{error}; {_WITHOUT_A_GPU}") from error

    def _capability(self) -> int:
        return int(self.target[2:]) if self.target else super()._capability()

    def _context(self, engine: Any) -> Any:  # noqa: ANN401
        """With every kernel compiled before the first inference, and none of them twice."""
        trt = self._here.trt
        config = engine.create_runtime_config()
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        kept = Path(self.options.cache) if self.options.cache else None
        cache = config.create_runtime_cache()
        if kept is not None and kept.is_file() and kept.stat().st_size <= _MOST_CACHE_BYTES:
            cache.deserialize(kept.read_bytes())  # of another GPU or version: left unused
        config.set_runtime_cache(cache)
        context = engine.create_execution_context(config)
        if kept is not None and context is not None:
            kept.write_bytes(bytes(cache.serialize()))
        return context


def _refuse_fp32_products(model: bytes) -> None:
    """Raise `OptionError` for FP32 matrix products, which TensorRT-RTX has no kernels for on SM75.

    Raises:
        OptionError: The model has one.
    """
    graph = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model)).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm") and types.get(node.output[0]) == 1:
            raise OptionError(
                f"TensorRT-RTX multiplies no FP32 matrices on {_NO_FP32_PRODUCTS}, and "
                f"{node.name!r} is one: build for sm80 or later, or make a plan that gives all "
                "such groups FP16"
            )


def _refuse_fp32_attention(model: bytes) -> None:
    """Raise `OptionError` for the operator Attention in FP32 on tensors of four dimensions.

    Raises:
        OptionError: The model has one.
    """
    proto = onnx.load_model_from_string(model)
    if all(node.op_type != "Attention" for node in proto.graph.node):
        return
    graph = onnx.shape_inference.infer_shapes(proto).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {v.name: v.type.tensor_type for v in values}
    for node in graph.node:
        input_type = types.get(node.input[0]) if node.op_type == "Attention" else None
        if (
            input_type is not None
            and input_type.elem_type == 1
            and len(input_type.shape.dim) == _HEADS_APART
        ):
            raise OptionError(
                f"TensorRT-RTX has no kernel for the operator Attention in FP32, and {node.name!r} "
                "is one: export the model with attention as MatMul and Softmax, or with heads "
                "joined (tensors of three dimensions)"
            )
