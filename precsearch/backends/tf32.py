"""TF32 on NVIDIA GPUs: what the products of an FP32 engine may be computed in."""

from __future__ import annotations

from precsearch.core.backend import Fp32Mode

__all__ = ["tf32_modes"]

_AMPERE = 8
"""Major compute capability from which tensor cores multiply FP32 in TF32."""


def tf32_modes(capability: int, option: str, *, default: bool) -> tuple[Fp32Mode, ...]:
    """For `precsearch.core.backend.ChoosesFp32.fp32_modes`.

    Args:
        capability: Major compute capability of the device.
        option: Name of the backend's build option that switches TF32.
        default: Whether the user's options switch it on.
    """
    strict = Fp32Mode("strict", 24, {option: "false"})
    if capability < _AMPERE:
        return (strict,)
    coarse = Fp32Mode("tf32", 11, {option: "true"})
    return (coarse, strict) if default else (strict, coarse)
