"""A backend for tests: ONNX Runtime with made-up times whose default FP32 computes in TF32.

What TF32 does is planted: each float output is off by a known share, and the engine is faster. It
becomes known as `tests.e2e.plugins.frail_backend` does.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from precsearch.core.backend import (
    Array,
    BackendFacts,
    BackendOptions,
    Feed,
    Fp32Mode,
    KernelTime,
    Session,
)
from precsearch.core.backend.facts import COMPILED
from tests.e2e.plugins import clocked_backend
from tests.e2e.plugins.clocked_backend import Clocked
from tests.plugin import make_known

__all__ = ["OFF", "Coarse", "here"]

OFF = 0.02
"""Relative error of every float output in TF32."""

_STRICT_OFF = "COARSE_STRICT_OFF"
_COMPILES = "COARSE_COMPILES"
_ALONE = "COARSE_ALONE"
_FASTER = 0.5


class _Session:
    """See `precsearch.core.backend.Session`."""

    def __init__(self, session: Session, off: float, share: float) -> None:
        self._session = session
        self._off = off
        self._share = share

    def run(self, feed: Feed) -> dict[str, Array]:
        found = self._session.run(feed)
        return {
            k: np.multiply(a, np.float32(1 + self._off)).astype(a.dtype)
            if a.dtype.kind == "f"
            else a
            for k, a in found.items()
        }

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [self._share * s for s in self._session.time(feed, repeats)]

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return self._session.profile(feed, runs)

    def close(self) -> None:
        self._session.close()


class Coarse(Clocked):
    """TF32 by default. ``STRICT_OFF`` plants an error in strict FP32; ``ALONE`` knows one way."""

    name = "coarse"
    facts = COMPILED if os.environ.get(_COMPILES) == "1" else BackendFacts()

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(replace(options, build={}))
        self.options = options

    @property
    def _strict(self) -> bool:
        return self.options.build.get("tf32", "true") == "false"

    def fp32_modes(self) -> tuple[Fp32Mode, ...]:
        """See `precsearch.core.backend.ChoosesFp32`."""
        strict = Fp32Mode("strict", 24, {"tf32": "false"})
        coarse = Fp32Mode("tf32", 11, {"tf32": "true"})
        if os.environ.get(_ALONE) == "1":
            return (strict,)
        return (strict, coarse) if self._strict else (coarse, strict)

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        session = super().open(artifact, profiled=profiled)
        if self._strict:
            return _Session(session, float(os.environ.get(_STRICT_OFF, "0")), 1.0)
        return _Session(session, OFF, _FASTER)


def here(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    strict_off: float = 0.0,
    compiles: bool = False,
    alone: bool = False,
) -> None:
    """Make it known to this process and its workers; its files go into a folder of their own."""
    clocked_backend.here(folder, patch)
    place = folder / "coarse"
    place.mkdir()
    make_known(place, "coarse", {"coarse": "tests.e2e.plugins.coarse_backend:Coarse"})
    patch.syspath_prepend(str(place))
    patch.setenv(_STRICT_OFF, str(strict_off))
    patch.setenv(_COMPILES, "1" if compiles else "0")
    patch.setenv(_ALONE, "1" if alone else "0")
    patch.setattr(Coarse, "facts", COMPILED if compiles else BackendFacts())
