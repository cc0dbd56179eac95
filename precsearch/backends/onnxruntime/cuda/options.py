"""The build options of the CUDA provider, by ONNX Runtime's own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from precsearch.core.errors import OptionError

__all__ = ["CudaOptions"]

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_CHOICES = {
    "cudnn_conv_algo_search": ("exhaustive", "heuristic", "default"),
    "clock": ("events", "host"),
}
_MOST_DEVICES = 1 << 12
_MOST_MEMORY = 1 << 48


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """How sessions are opened and timed; the same for all engines of a search.

    Attributes:
        use_tf32: Whether products in FP32 may be computed in TF32 (ONNX Runtime's own default).
        cudnn_conv_algo_search: How cuDNN chooses a convolution's kernel: ``exhaustive`` times all
            of them at the first run, ``heuristic`` asks cuDNN, ``default`` takes a fixed one.
        prefer_nhwc: Whether convolutions are laid out with their channels last.
        gpu_mem_limit: Bytes of device memory that a session may keep; 0 is no limit.
        enable_cuda_graph: Whether engines are run as CUDA graphs, where one can be captured.
        device_id: The number of the GPU.
        clock: ``events`` times on the device, ``host`` with the clock of the CPU around a run that
            waits for the device.
    """

    use_tf32: bool = True
    cudnn_conv_algo_search: str = "exhaustive"
    prefer_nhwc: bool = False
    gpu_mem_limit: int = 0
    enable_cuda_graph: bool = True
    device_id: int = 0
    clock: str = "events"

    @classmethod
    def of(cls, given: Mapping[str, str]) -> CudaOptions:
        """The defaults with some of them replaced.

        Raises:
            OptionError: A name is unknown, or a value makes no sense.
        """
        known = {f.name: f for f in fields(cls)}
        values: dict[str, bool | int | str] = {}
        for name, text in given.items():
            if name not in known:
                raise OptionError(
                    f"the onnxruntime-cuda backend has no build option {name!r}; use one of "
                    f"{', '.join(sorted(known))}"
                )
            default = known[name].default
            if isinstance(default, bool):
                values[name] = _boolean(name, text)
            elif isinstance(default, int):
                most = _MOST_DEVICES if name == "device_id" else _MOST_MEMORY
                values[name] = _number(name, text, most)
            else:
                values[name] = _choice(name, text)
        return cls(**values)  # type: ignore[arg-type]  # each value was read by its field's type

    def provider_options(self, *, graph: bool, stream: int = 0) -> dict[str, str]:
        """What ONNX Runtime is told.

        Args:
            graph: Whether this session may capture a CUDA graph.
            stream: Address of the CUDA stream to run in; 0 for one of the session's own.
        """
        options = {
            "device_id": str(self.device_id),
            "use_tf32": str(int(self.use_tf32)),
            "cudnn_conv_algo_search": self.cudnn_conv_algo_search.upper(),
            "prefer_nhwc": str(int(self.prefer_nhwc)),
            "enable_cuda_graph": str(int(graph)),
        }
        if self.gpu_mem_limit:
            options["gpu_mem_limit"] = str(self.gpu_mem_limit)
        if stream:
            options["user_compute_stream"] = str(stream)
        return options


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise OptionError(f"the build option {name} is true or false, not {text!r}")
    return _BOOLEANS[text.lower()]


def _number(name: str, text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:18]) > most:
        raise OptionError(f"the build option {name} is a whole number up to {most}, not {text!r}")
    return int(text[:18])


def _choice(name: str, text: str) -> str:
    if text.lower() not in _CHOICES[name]:
        raise OptionError(
            f"the build option {name} is one of {', '.join(_CHOICES[name])}, not {text!r}"
        )
    return text.lower()
