"""ONNX Runtime on an NVIDIA GPU: FP32, TF32, FP16 and BF16, as in docs/onnxruntime-cuda.md."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from precsearch.backends.onnxruntime.cuda.capabilities import (
    FIRST_BF16,
    TYPED_CUDA,
    WITHOUT_QDQ,
)
from precsearch.backends.onnxruntime.cuda.options import CudaOptions
from precsearch.backends.onnxruntime.cuda.profile_process import ProfileProcess
from precsearch.backends.onnxruntime.cuda.provider import (
    CUDA,
    SessionRequest,
    load_cuda,
    open_session,
)
from precsearch.backends.onnxruntime.cuda.session import Clock, DeviceSession, HostClock, Profiler
from precsearch.backends.onnxruntime.fusion_faults import FUSION_FAULT
from precsearch.backends.tf32 import tf32_modes
from precsearch.core.backend import (
    BackendFacts,
    BackendOptions,
    DeviceUse,
    Feed,
    Fingerprint,
    Fp32Mode,
    GraphForm,
    KernelTime,
    QuantScheme,
)
from precsearch.core.errors import OptionError
from precsearch.core.precision import Precision
from precsearch.system.cuda_driver import CudaDriver, CudaStream
from precsearch.system.disturbance import Watch
from precsearch.system.gpu_neighbours import device_watch
from precsearch.system.printable import first_of

if TYPE_CHECKING:
    import onnxruntime as ort

__all__ = ["OnnxRuntimeCudaBackend"]

_RUN = frozenset({Precision.FP32, Precision.FP16})
_MAX_NAMES = 3


class _EventClock:
    """CUDA events around runs that wait for nothing. See `Clock`."""

    waits = False

    def __init__(self, stream: CudaStream) -> None:
        self.seconds = stream.seconds


class OnnxRuntimeCudaBackend:
    """FP32, FP16 and BF16 on ONNX Runtime's CUDA provider.

    Constructing it loads nothing; a plan can be read, lowered and built without a GPU.

    Args:
        options: The folder of external weights, and
            `precsearch.backends.onnxruntime.cuda.options.CudaOptions` by name.

    Raises:
        OptionError: A build option is unknown or makes no sense.
    """

    name = "onnxruntime-cuda"
    provider = CUDA
    precisions = _RUN | {Precision.BF16}
    refusal = "ONNX Runtime's CUDA provider computes quantized operators in float"
    scheme: QuantScheme = WITHOUT_QDQ
    form: GraphForm = TYPED_CUDA
    facts = BackendFacts(
        clock_ramps_up=True,
        device="gpu",
        exporter="onnxruntime",
        unlisted_node=None,
        offered=_RUN,
        rewrites=("fuse-layernorm",),
    )
    use = DeviceUse(
        # cuDNN chooses its kernels in the first run, by timing them.
        alone=frozenset({"run", "time"}),
        elsewhere=frozenset({"reference", "calibrate", "screen", "proxy"}),
    )

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.build_options = CudaOptions.of(options.build)
        self._notes: dict[str, dict[str, None]] = {}
        self._profiles = ProfileProcess()

    @cached_property
    def _driver(self) -> CudaDriver:
        load_cuda()
        return CudaDriver(self.build_options.device_id)

    @cached_property
    def _stream(self) -> CudaStream | None:
        """What all sessions run in where they are timed by events."""
        return self._driver.stream() if self.build_options.clock == "events" else None

    def fingerprint(self) -> Fingerprint:
        """See `precsearch.core.backend.Backend.fingerprint`."""
        device = self._driver.device()
        import onnxruntime as ort

        major, minor = device.compute
        return Fingerprint(
            backend=self.name,
            versions={
                "onnxruntime": ort.__version__,
                "cuda": str(getattr(ort, "cuda_version", "")),
                "cuda driver": device.driver,
                "numpy": np.__version__,
            },
            device=f"{device.name}, compute capability {major}.{minor}",
            features=(f"{device.multiprocessors} multiprocessors", f"{device.memory >> 20} MiB"),
        )

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """See `precsearch.core.backend.ChoosesFp32.fp32_modes`: TF32 is there from Ampere on."""
        major, _ = self._driver.device().compute
        return tf32_modes(major, "use_tf32", default=self.build_options.use_tf32)

    def unavailable(self, precisions: Collection[Precision]) -> str:
        """See `precsearch.core.backend.facts.LimitsPrecisions.unavailable`."""
        if Precision.BF16 not in precisions:
            return ""
        have = self._driver.device().compute
        if have >= FIRST_BF16:
            return ""
        return (
            f"bf16 needs compute capability {FIRST_BF16[0]}.{FIRST_BF16[1]}, and this GPU has "
            f"{have[0]}.{have[1]}"
        )

    def watch(self) -> Watch:
        """See `precsearch.system.disturbance.Watches.watch`."""
        return device_watch(lambda: self._profiles.pids)

    def build(self, model: bytes) -> bytes:
        """The model itself: ONNX Runtime compiles when it opens one."""
        return model

    def how_to_load(self, path: str) -> tuple[str, ...]:
        """See `precsearch.core.backend.portable.TellsHowToLoad.how_to_load`."""
        given = self.build_options.provider_options(graph=False)
        return (
            "import onnxruntime",
            f"cuda = ('CUDAExecutionProvider', {given!r})",
            f"session = onnxruntime.InferenceSession({path!r}, providers=[cuda])",
            "outputs = session.run(None, inputs)  # a dictionary of input name to array",
            *([_BOUND] if self.build_options.enable_cuda_graph else []),
        )

    def open(self, artifact: bytes, *, profiled: bool = False) -> DeviceSession:
        """See `precsearch.core.backend.Backend.open`.

        Raises:
            OptionError: ONNX Runtime has no CUDA provider here, or it does not load.
        """
        _ = self._driver
        clock: Clock = HostClock() if self._stream is None else _EventClock(self._stream)
        stream = 0 if self._stream is None else self._stream.address
        given = self.build_options

        def opened(graph: bool) -> ort.InferenceSession:
            options = given.provider_options(graph=graph, stream=stream)
            request = SessionRequest(artifact, options, self.options.model_folder)
            session, left_out = open_session(request, self.provider)
            if left_out:
                self._note(artifact, FUSION_FAULT.format(names=list(left_out)))
            return session

        return DeviceSession(
            opened,
            clock,
            graphs=given.enable_cuda_graph and not profiled,
            provider=self.provider,
            device=given.device_id,
            profiler=self._profiler(artifact) if profiled else None,
            tell=lambda text: self._note(artifact, text),
        )

    def _profiler(self, artifact: bytes) -> Profiler:
        options = self.build_options.provider_options(graph=False)
        request = SessionRequest(artifact, options, self.options.model_folder)

        def profile(feed: Feed, runs: int) -> tuple[KernelTime, ...]:
            measured = self._profiles.profile(request, feed, runs, self.provider)
            if elsewhere := measured.fallbacks(self.provider.name):
                names = first_of(elsewhere, _MAX_NAMES)
                self._note(artifact, _FALLBACK.format(names=names))
            if not self.build_options.prefer_nhwc and measured.convolves_in(Precision.FP16):
                self._note(artifact, _LAYOUT)
            return measured.kernels()

        return profile

    def _note(self, artifact: bytes, text: str) -> None:
        digest = hashlib.sha256(artifact).hexdigest()
        self._notes.setdefault(digest, {})[text] = None

    def warnings(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.warnings`."""
        return tuple(self._notes.get(hashlib.sha256(artifact).hexdigest(), ()))

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """See `precsearch.core.backend.Backend.layer_summary`."""
        return ()

    def scheme_named(self, name: str) -> QuantScheme:
        """See `precsearch.core.backend.Backend.scheme_named`."""
        if name != WITHOUT_QDQ.name:
            raise OptionError(
                f"the onnxruntime-cuda backend has no quantization scheme {name!r}; use "
                f"{WITHOUT_QDQ.name}"
            )
        return WITHOUT_QDQ

    def form_named(self, name: str) -> GraphForm:
        """See `precsearch.core.backend.Backend.form_named`."""
        if name != TYPED_CUDA.name:
            raise OptionError(
                f"the onnxruntime-cuda backend builds from no graph form {name!r}; use "
                f"{TYPED_CUDA.name}"
            )
        return TYPED_CUDA


_BOUND = "# timed as a CUDA graph with inputs and outputs on the device: docs/onnxruntime-cuda.md"
_FALLBACK = "ran on the CPU, because the CUDA provider has no kernel for them as they are: {names}"
_LAYOUT = (
    "convolutions in FP16 ran with their channels first; this search did not try channels last, "
    "which is often faster: --build-option prefer_nhwc=true"
)
