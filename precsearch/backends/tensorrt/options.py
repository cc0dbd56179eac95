"""The build options of TensorRT, by name: enum values differ from version to version."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from precsearch.core.errors import OptionError

__all__ = ["SHARED", "TACTIC_SOURCES_VARIABLE", "TensorRtOptions"]

SHARED = frozenset({"cuda_graph", "tf32", "workspace_mib"})
"""Options that mean the same to TensorRT-RTX, which chooses its kernels when an engine is opened
and not by timing them in the build: there the others have no effect."""

TACTIC_SOURCES_VARIABLE = "PRECSEARCH_TRT_TACTIC_SOURCES"
"""Default of `TensorRtOptions.tactic_sources`, for machines that lack cuBLAS or cuDNN."""

_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


_RENAMED = {"pin": "layer_precisions"}
"""Old name → new name, for one release."""


@dataclass(frozen=True, slots=True)
class TensorRtOptions:
    """How engines are built; the same for all engines of a search.

    Attributes:
        workspace_mib: Memory in MiB that a kernel may use. TensorRT's own default is all that the
            device has, which makes the choice of kernels depend on who else uses it.
        tf32: Whether FP32 may be computed in TF32 (TensorRT's own default).
        optimization_level: ``builder_optimization_level``, 0 to 5.
        timing_iterations: ``avg_timing_iterations``: how often each kernel is timed. TensorRT's
            default is 1; trtexec, and we, take 8.
        tactic_sources: Names joined by ``+``, ``none`` or ``default``.
        layer_precisions: ``fp32``: a layer that must be FP32 is set so, one that may be FP16 is
            left to the builder; ``all``: those are set to FP16, too. Weak form alone.
        cuda_graph: Whether engines are timed as CUDA graphs.
        record_tactics: Whether kernels are chosen in an editable timing cache, where the version
            has one, so that a plan can name them.
    """

    workspace_mib: int = 4096
    tf32: bool = True
    optimization_level: int = 3
    timing_iterations: int = 8
    tactic_sources: str = "default"
    layer_precisions: str = "fp32"
    cuda_graph: bool = True
    record_tactics: bool = True

    @classmethod
    def of(cls, given: Mapping[str, str]) -> TensorRtOptions:
        """The defaults with some of them replaced.

        Raises:
            OptionError: A name is unknown, or a value makes no sense.
        """
        given = {_RENAMED.get(name, name): text for name, text in given.items()}
        known = {f.name: f for f in fields(cls)}
        values: dict[str, Any] = {}
        sources = os.environ.get(TACTIC_SOURCES_VARIABLE)
        if sources:
            values["tactic_sources"] = sources
        for name, text in given.items():
            if name not in known:
                raise OptionError(
                    f"the tensorrt backend has no build option {name!r}; use one of "
                    f"{', '.join(sorted(known))}"
                )
            values[name] = _value(name, text, type(known[name].default))
        options = cls(**values)
        options._check()
        return options

    def _check(self) -> None:
        limits = {
            "workspace_mib": (self.workspace_mib, 1, 1 << 24),
            "optimization_level": (self.optimization_level, 0, 5),
            "timing_iterations": (self.timing_iterations, 1, 1000),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise OptionError(
                    f"the build option {name} must be from {least} to {most}, not {value}"
                )
        if self.layer_precisions not in ("fp32", "all"):
            raise OptionError(
                f"the build option layer_precisions is fp32 or all, not {self.layer_precisions!r}"
            )


def _value(name: str, text: str, kind: type) -> Any:  # noqa: ANN401
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise OptionError(f"the build option {name} is true or false, not {text!r}")
        return _BOOLEANS[text.lower()]
    if kind is int:
        try:
            return int(text)
        except ValueError as error:
            raise OptionError(f"the build option {name} is a whole number, not {text!r}") from error
    return text
