"""The backend of ``examples/miscompiled``, which counts its builds."""

from __future__ import annotations

from examples.miscompiled.miscompiling import Miscompiling

__all__ = ["Wrong"]


class Wrong(Miscompiling):
    """Where both sides of a MatMul are scaled by a constant, it forgets one of the scales."""

    name = "wrong"
    built = 0

    def build(self, model: bytes) -> bytes:
        """See `precsearch.core.backend.Backend.build`."""
        type(self).built += 1
        return super().build(model)
