"""A backend for tests: ONNX Runtime that chooses a kernel at random where it is held to none.

It becomes known through an entry point in a folder on the path, as any plug-in does.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend, OnnxRuntimeSession
from precsearch.core.backend import BackendOptions, Fingerprint
from precsearch.core.backend.facts import COMPILED
from tests.plugin import make_known

__all__ = ["Choosing", "install"]

DRIVER = "PRECSEARCH_TEST_DRIVER"
"""Environment variable with the version of a driver that is not there."""
BUILT = "PRECSEARCH_TEST_BUILT"
"""Environment variable with the file that every choice is written to."""


class Choosing(OnnxRuntimeBackend):
    """An engine is 16 hexadecimal digits, what was chosen, and the model."""

    name = "choosing"
    facts = COMPILED

    def __init__(self, options: BackendOptions) -> None:
        super().__init__(options)
        self._chosen: dict[str, str] = {}
        self._held: Mapping[str, str] = {}

    def fingerprint(self) -> Fingerprint:
        """With a driver."""
        where = super().fingerprint()
        driver = os.environ.get(DRIVER, "1")
        return replace(where, versions={**where.versions, "driver": driver})

    def build(self, model: bytes) -> bytes:
        """Choose."""
        key = hashlib.sha256(model).hexdigest()[:12]
        self._chosen[key] = self._held.get(key, f"0x{secrets.token_hex(8)}")
        if BUILT in os.environ:
            with Path(os.environ[BUILT]).open("a") as log:
                log.write(f"{self._chosen[key]}\n")
        return self._chosen[key][2:].encode() + super().build(model)

    def open(self, artifact: bytes, *, profiled: bool = False) -> OnnxRuntimeSession:
        """Without the choice."""
        return super().open(artifact[16:], profiled=profiled)

    def layer_summary(self, artifact: bytes) -> tuple[str, ...]:
        """One layer."""
        return (f"all of it: kernel {artifact[:16].decode()}",)

    def tactics(self) -> dict[str, str]:
        """See `precsearch.core.backend.ChoosesTactics`."""
        return dict(self._chosen)

    def hold(self, tactics: Mapping[str, str]) -> None:
        """See `precsearch.core.backend.ChoosesTactics`."""
        self._held = dict(tactics)


def install(folder: Path) -> None:
    """Make the backend known to a Python that has ``folder`` on its path."""
    make_known(
        folder, "choosing", {"choosing": "tests.backends.trt.stand_in.choosing_backend:Choosing"}
    )
