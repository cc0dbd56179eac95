"""The build options of TensorRT-RTX, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from precsearch.backends.tensorrt.options import SHARED, TensorRtOptions
from precsearch.core.errors import OptionError

__all__ = ["RtxOptions"]

_TARGET = re.compile(r"sm\d{2,3}")


@dataclass(frozen=True, slots=True)
class RtxOptions:
    """How engines are built.

    Attributes:
        target: Compute capability of the GPU, such as ``sm89``; "" for the one of this machine.
        knobs: The options that TensorRT has, too.
    """

    target: str
    knobs: TensorRtOptions

    @classmethod
    def of(cls, given: Mapping[str, str]) -> RtxOptions:
        """The defaults with some of them replaced.

        Raises:
            OptionError: A name is unknown, or a value makes no sense.
        """
        names = ("target", *SHARED)
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise OptionError(
                f"the tensorrt-rtx backend has no build option {unknown[0]!r}; use one of "
                f"{', '.join(sorted(names))}"
            )
        target = given.get("target", "").lower()
        if target and not _TARGET.fullmatch(target):
            raise OptionError(
                f"the target is a compute capability such as sm89, not {given['target']!r}"
            )
        shared = {name: given[name] for name in SHARED if name in given}
        return cls(target, TensorRtOptions.of({**shared, "record_tactics": "false"}))
