"""OpenVINO: FP32, BF16 and INT8 on its CPU device, as measured in docs/openvino.md."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any

import numpy as np

from precsearch.backends.openvino.artifact import EngineArtifact
from precsearch.backends.openvino.capabilities import DeviceCapabilities, device_capabilities
from precsearch.backends.openvino.inspector import runtime_layers
from precsearch.backends.openvino.ir import SUFFIXES, intermediate_representation
from precsearch.backends.openvino.options import OpenVinoOptions
from precsearch.backends.openvino.reader import OnnxOutline, read_onnx
from precsearch.backends.openvino.runtime import error_line, openvino_core, openvino_errors
from precsearch.backends.openvino.scheme import scheme
from precsearch.backends.openvino.session import OpenVinoSession
from precsearch.core.backend import TYPED, BackendOptions, Fingerprint, GraphForm, QuantScheme
from precsearch.core.backend.facts import BackendFacts
from precsearch.core.errors import BuildError, OptionError
from precsearch.core.precision import Precision
from precsearch.system.cpu import cpu_features, cpu_name, int8_saturates, physical_cores
from precsearch.system.disturbance import CpuWatch, NoWatch, Watch

__all__ = ["OpenVinoBackend"]

_WRITTEN = frozenset({Precision.FP32, Precision.BF16, Precision.FP16, Precision.INT8})

_ONE_KERNEL = {
    **dict.fromkeys(("conv", "matmul", "gemm", "gelu", "silu"), frozenset[str]()),
    "layernorm": frozenset({"Div"}),
}
_TYPED_16 = GraphForm("typed-22", 22, one_kernel=_ONE_KERNEL)
"""Casts and Q/DQ say everything, with FP32 around INT8. ONNX has Conv in bfloat16 from 22 on."""


class OpenVinoBackend:
    """The precisions that an OpenVINO device lists, of those that precsearch writes for it.

    Constructing it loads nothing; a plan can be read and lowered without OpenVINO.

    Args:
        options: Threads, shapes, the folder of external weights, and
            `precsearch.backends.openvino.options.OpenVinoOptions` by name.

    Raises:
        OptionError: A build option is unknown or makes no sense.
    """

    name = "openvino"
    portable_suffixes = SUFFIXES
    facts = BackendFacts(
        builds_are_expensive=True,
        artifact_is_model=False,
        keep_artifacts=True,
        can_be_cut=True,
        unlisted_node=None,
    )

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.build_options = OpenVinoOptions.of(options.build)
        self.features = cpu_features()
        self.scheme: QuantScheme = scheme(7 if int8_saturates(self.features) else 8)

    @property
    def threads(self) -> int:
        """CPU threads of one inference."""
        return self.options.threads or physical_cores()

    @property
    def _on_cpu(self) -> bool:
        return self.build_options.device.partition(".")[0] == "CPU"

    @cached_property
    def capabilities(self) -> DeviceCapabilities:
        """What the device says of itself.

        Raises:
            OptionError: OpenVINO is not installed, or has no such device here.
        """
        return device_capabilities(self.build_options.device)

    @cached_property
    def precisions(self) -> frozenset[Precision]:
        """What the device runs; without OpenVINO or the device, all that is written for it."""
        try:
            return self.capabilities.precisions & _WRITTEN
        except OptionError:
            return _WRITTEN

    @cached_property
    def form(self) -> GraphForm:
        """OpenVINO takes the types of a graph at their word, where its device has them."""
        return _TYPED_16 if Precision.BF16 in self.precisions else TYPED

    @property
    def refusal(self) -> str:
        """Why it does not run the others."""
        try:
            listed = ", ".join(self.capabilities.listed)
        except OptionError:
            return "precsearch writes no other precision for it"
        return f"the device {self.build_options.device} lists {listed}"

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.core.backend.Backend.fingerprint`."""
        capabilities = self.capabilities
        device = capabilities.name
        if self._on_cpu:
            # OpenVINO shortens the name; the system's own is what other backends give.
            device = f"{cpu_name()}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        return Fingerprint(
            backend=self.name,
            versions={"openvino": capabilities.version, "numpy": np.__version__},
            device=device,
            features=tuple(sorted({*self.features, *(c.lower() for c in capabilities.listed)})),
        )

    def watch(self) -> Watch:
        """See `precsearch.system.disturbance.Watches.watch`."""
        return CpuWatch(self.threads) if self._on_cpu else NoWatch()

    def build(self, model: bytes) -> bytes:
        """See `precsearch.core.backend.Backend.build`."""
        outline = OnnxOutline(model)
        network = read_onnx(model, outline, self.options.model_folder, self.options.shapes)
        blob = io.BytesIO()
        try:
            device = self.build_options.device
            openvino_core().compile_model(network, device, self._config()).export_model(blob)
        except openvino_errors() as error:
            raise BuildError(error_line(error)) from error
        nodes = outline.nodes
        return EngineArtifact(outline.inputs, outline.outputs, nodes, blob.getvalue()).to_bytes()

    def portable(self, model: bytes) -> tuple[bytes, ...]:
        """See `precsearch.core.backend.portable.WritesPortableModel.portable`."""
        outline = OnnxOutline(model)
        network = read_onnx(model, outline, self.options.model_folder, self.options.shapes)
        return intermediate_representation(network)

    def how_to_load(self, path: str) -> tuple[str, ...]:
        """See `precsearch.core.backend.portable.WritesPortableModel.how_to_load`."""
        device = self.build_options.device
        return (
            "import openvino",
            f"model = openvino.Core().compile_model({path!r}, {device!r}, {self._config()!r})",
            "outputs = model(inputs)",
        )

    def open(self, artifact: bytes, *, profiled: bool = False) -> OpenVinoSession:
        """See `precsearch.core.backend.Backend.open`."""
        unpacked = EngineArtifact.of(artifact)
        return OpenVinoSession(self._imported(unpacked, profiled), unpacked, profiled=profiled)

    def _imported(self, artifact: EngineArtifact, profiled: bool) -> Any:  # noqa: ANN401
        config = {**self._config(), "PERF_COUNT": profiled}
        if profiled:
            config["NUM_STREAMS"] = 1  # each stream counts for itself
        stream = io.BytesIO(artifact.blob)
        try:
            return openvino_core().import_model(stream, self.build_options.device, config)
        except openvino_errors() as error:
            raise BuildError(error_line(error)) from error

    def _config(self) -> dict[str, Any]:
        """Compile options; the hint keeps what the graph says is FP32 in FP32."""
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": self.build_options.streams,
        }
        if self._on_cpu:
            config["INFERENCE_NUM_THREADS"] = self.threads
            config["ENABLE_CPU_PINNING"] = self.build_options.pinning
        return config

    def warnings(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.warnings`."""
        return ()

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.layer_summary`."""
        unpacked = EngineArtifact.of(artifact)
        return tuple(sorted(x.line for x in runtime_layers(self._imported(unpacked, False))))

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme_named`."""
        known = {candidate.name: candidate for candidate in (scheme(8), scheme(7))}
        if name not in known:
            raise OptionError(
                f"the openvino backend has no quantization scheme {name!r}; use one of "
                f"{', '.join(sorted(known))}"
            )
        return known[name]

    def form_named(self, name: str) -> GraphForm:
        """See `precsearch.core.backend.Backend.form_named`."""
        for form in (_TYPED_16, TYPED):
            if form.name == name:
                return form
        raise OptionError(
            f"the openvino backend builds from no graph form {name!r}; use {_TYPED_16.name} or "
            f"{TYPED.name}"
        )
