"""ONNX Runtime on a CPU: FP32 and INT8. What it does was measured: docs/onnxruntime.md."""

from __future__ import annotations

import re
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from precsearch.backends.onnxruntime.node_events import (
    CONVERSIONS,
    NodeTime,
    node_times,
    read_profile,
)
from precsearch.backends.onnxruntime.optimized import OptimizedModels
from precsearch.core.backend import (
    TYPED,
    Array,
    BackendFacts,
    BackendOptions,
    Feed,
    Fingerprint,
    GraphForm,
    KernelTime,
    QuantScheme,
)
from precsearch.core.errors import BuildError, OptionError, RunError
from precsearch.core.precision import Precision
from precsearch.core.quantization import Quirk
from precsearch.reference.session import first_line, ort_errors, session_options
from precsearch.system.cpu import cpu_features, cpu_name, int8_saturates, physical_cores
from precsearch.system.disturbance import CpuWatch

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeSession", "scheme"]

_INT8_KERNEL = re.compile(r"^(QLinear\w+|QGemm|MatMulInteger\w*|ConvInteger|DynamicQuantize\w+)$")
_UNIQUE_SUFFIX = re.compile(r"(_token_\d+)+$")


def scheme(weight_bits: int = 8) -> QuantScheme:
    """Asymmetric uint8 activations, symmetric int8 weights per channel.

    Softmax, Sigmoid, Mul and AveragePool have integer kernels too, slower than the FP32 ones by 1.3
    to 30 times, and are left out.
    """
    return QuantScheme.int8(
        name=f"ort-u8s8-{weight_bits}",
        activation="uint8",
        weight_bits=weight_bits,
        active=frozenset({"Conv", "MatMul", "Gemm"}),
        passive=frozenset({"Add", "Concat", "GlobalAveragePool", "LeakyRelu"}),
        carried=frozenset(
            {"MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice"}
        ),
        outputs_of=frozenset({"Conv"}),
        quirks={
            Quirk.SPLIT_BIAS,
            Quirk.GUARD_FLOAT,
            Quirk.DYNAMIC_RANGES,
            Quirk.CHEAP_FACTORS,
        },
    )


class OnnxRuntimeSession:
    """An ONNX Runtime session on the CPU provider."""

    def __init__(
        self, session: ort.InferenceSession, scratch: tempfile.TemporaryDirectory[str] | None = None
    ) -> None:
        self._session: ort.InferenceSession | None = session
        self._scratch = scratch  # its profile goes there; None where it is not profiled
        self._outputs = [o.name for o in session.get_outputs()]

    def _ready(self) -> ort.InferenceSession:
        if self._session is None:
            raise RunError("the session is closed")
        return self._session

    def run(self, feed: Feed) -> dict[str, Array]:
        """See `precsearch.core.backend.Session.run`."""
        session = self._ready()
        try:
            values = session.run(self._outputs, dict(feed))
        except ort_errors() as error:
            raise RunError(first_line(error)) from error
        return dict(zip(self._outputs, values, strict=True))

    def time(self, feed: Feed, repeats: int) -> list[float]:
        """See `precsearch.core.backend.Session.time`."""
        session, outputs, inputs = self._ready(), self._outputs, dict(feed)
        clock = time.perf_counter
        seconds = []
        try:
            for _ in range(repeats):
                start = clock()
                session.run(outputs, inputs)
                seconds.append(clock() - start)
        except ort_errors() as error:
            raise RunError(first_line(error)) from error
        return seconds

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        """See `precsearch.core.backend.Session.profile`.

        Leaves the session slower than a fresh one.

        Raises:
            ResourceError: There is no room for the profile.
        """
        if self._scratch is None:
            return ()
        for _ in range(runs + 1):
            self.run(feed)
        events = read_profile(Path(self._ready().end_profiling()))
        return tuple(_kernel(node) for node in node_times(events))

    def close(self) -> None:
        """See `precsearch.core.backend.Session.close`."""
        self._session = None
        if self._scratch is not None:
            self._scratch.cleanup()


def _kernel(node: NodeTime) -> KernelTime:
    name = _UNIQUE_SUFFIX.sub("", node.name)
    converts = node.op_type in CONVERSIONS
    return KernelTime((name,), node.op_type, node.seconds, _computed_in(node.op_type), converts)


def _computed_in(kernel: str) -> Precision:
    if kernel == "MatMulNBits":
        return Precision.INT4
    return Precision.INT8 if _INT8_KERNEL.match(kernel) else Precision.FP32


class OnnxRuntimeBackend:
    """FP32 and INT8 on ONNX Runtime's CPU provider.

    FP16 is refused: the provider computes it in FP32 and drops the casts, so it would be neither
    faster nor a judge of FP16 accuracy.

    Args:
        options: Threads and the folder of external weights.
    """

    name = "onnxruntime"
    precisions = frozenset({Precision.FP32, Precision.INT8, Precision.INT4})
    refusal = (
        "ONNX Runtime's CPU provider truly runs FP32, INT8 and weights in INT4 alone; FP16 graphs, "
        "for one, it computes in FP32 and drops the casts, so they would be neither faster nor a "
        "judge of FP16"
    )

    form = TYPED
    facts = BackendFacts(
        exporter="onnxruntime", offered=frozenset({Precision.FP32, Precision.INT8})
    )

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        if options.build:
            raise OptionError(
                f"the onnxruntime backend has no build option {min(options.build)!r}; leave it out"
            )
        self.features = cpu_features()
        self.scheme = scheme(weight_bits=7 if int8_saturates(self.features) else 8)

    @property
    def threads(self) -> int:
        """CPU threads of one inference."""
        return self.options.threads or physical_cores()

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.core.backend.Backend.fingerprint`."""
        import onnxruntime as ort

        return Fingerprint(
            backend=self.name,
            versions={"onnxruntime": ort.__version__, "numpy": np.__version__},
            device=f"{cpu_name()}, {self.threads} thread{'s' if self.threads > 1 else ''}",
            features=self.features,
        )

    def watch(self) -> CpuWatch:
        """See `precsearch.system.disturbance.Watches.watch`."""
        return CpuWatch(self.threads)

    def build(self, model: bytes) -> bytes:
        """The model itself: ONNX Runtime compiles when it opens one."""
        return model

    def how_to_load(self, path: str) -> tuple[str, ...]:
        """See `precsearch.core.backend.portable.TellsHowToLoad.how_to_load`."""
        return (
            "import onnxruntime",
            f"session = onnxruntime.InferenceSession({path!r})",
            "outputs = session.run(None, inputs)  # a dictionary of input name to array",
        )

    def open(self, artifact: bytes, *, profiled: bool = False) -> OnnxRuntimeSession:
        """See `precsearch.core.backend.Backend.open`."""
        # A folder of our own: a name that can be guessed may be a link that somebody put there.
        scratch = tempfile.TemporaryDirectory(prefix="precsearch-") if profiled else None
        try:
            return OnnxRuntimeSession(self._session(artifact, scratch), scratch)
        except ort_errors() as error:
            raise BuildError(first_line(error)) from error

    def _session(
        self, artifact: bytes, scratch: tempfile.TemporaryDirectory[str] | None
    ) -> ort.InferenceSession:
        """A session; of a model that was optimized before, without optimizing it again."""
        optimized = self._optimized
        if (path := optimized.found(artifact)) is not None:
            try:
                return self._opened(path.read_bytes(), scratch, optimize=False)
            except (OSError, *ort_errors()):  # type: ignore[misc]
                optimized.stop()
        start = time.perf_counter()
        try:
            with optimized.writing(artifact) as target:
                return self._opened(artifact, scratch, target)
        except ort_errors():
            optimized.stop()  # it may be the writing that failed
            return self._opened(artifact, scratch)
        finally:
            optimized.took(time.perf_counter() - start)

    def _opened(
        self,
        model: bytes,
        scratch: tempfile.TemporaryDirectory[str] | None,
        target: Path | None = None,
        *,
        optimize: bool = True,
    ) -> ort.InferenceSession:
        import onnxruntime as ort

        options = session_options(self.threads, self.options.model_folder)
        if scratch is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(scratch.name) / "profile")
        if target is not None:
            options.optimized_model_filepath = str(target)
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @cached_property
    def _optimized(self) -> OptimizedModels:
        """In a folder of this run alone; nowhere for external weights, which would be copied."""
        import onnxruntime as ort

        scratch, external = self.options.scratch, self.options.model_folder
        folder = Path(scratch) / "optimized" if scratch and not external else None
        context = f"{ort.__version__} {' '.join(self.features)} {self.threads}"
        return OptimizedModels(folder, context)

    def warnings(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.warnings`."""
        return ()

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.layer_summary`."""
        return ()

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme_named`."""
        for bits in (8, 7):
            if scheme(bits).name == name:
                return scheme(bits)
        known = ", ".join(scheme(bits).name for bits in (8, 7))
        raise OptionError(
            f"the onnxruntime backend has no quantization scheme {name!r}; use one of {known}"
        )

    def form_named(self, name: str) -> GraphForm:
        """See `precsearch.core.backend.Backend.form_named`."""
        if name != TYPED.name:
            raise OptionError(
                f"the onnxruntime backend builds from no graph form {name!r}; use {TYPED.name}"
            )
        return TYPED
