"""A machine that reports little or nothing: no /proc, no driver, a driver without devices."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precsearch.backends.auto import auto_backend
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import BuildError, RunError
from precsearch.system.cpu import cpu_features, physical_cores
from tests.hostile.situations.world import model

BOTH = ("onnxruntime", "tensorrt")


class Driver:
    """As much of CUDA's driver as is asked for."""

    def __init__(self, init: int, count: int) -> None:
        self._init, self._count = init, count

    def cuInit(self, flags: int) -> int:  # noqa: N802 - CUDA's name
        return self._init

    def cuDeviceGetCount(self, place: Any) -> int:  # noqa: N802 - CUDA's name
        place._obj.value = self._count
        return 0


@pytest.mark.parametrize(
    ("driver", "taken"),
    [
        (Driver(0, 2), "tensorrt"),
        (Driver(0, 0), "onnxruntime"),
        (Driver(100, 2), "onnxruntime"),
        (None, "onnxruntime"),
    ],
)
def test_the_driver_says_whether_there_is_a_gpu(
    driver: Driver | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str) -> Driver:
        assert name == "libcuda.so.1"
        if driver is None:
            raise OSError("no such file")
        return driver

    monkeypatch.setattr(ctypes, "CDLL", opened)
    assert auto_backend(BOTH, lambda _: True).name == taken


def test_a_package_that_is_incomplete_counts_as_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def damaged(name: str) -> None:
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(importlib.util, "find_spec", damaged)
    assert auto_backend(BOTH).reason == "TensorRT is not installed"


def test_a_system_without_facts_about_its_processor_is_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable(path: Path, *_: object, **__: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert cpu_features() == ()
    assert physical_cores() == len(os.sched_getaffinity(0))
    made = OnnxRuntimeBackend(BackendOptions(threads=1))
    assert made.fingerprint().device
    assert made.scheme.name == made.scheme_named(made.scheme.name).name
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert physical_cores() == 3


def test_an_engine_that_is_refused_fails_or_is_closed() -> None:
    backend = OnnxRuntimeBackend(BackendOptions(threads=1))
    with pytest.raises(BuildError):
        backend.open(b"no model")
    session = backend.open(backend.build(model().SerializeToString()))
    wrong = {"x": np.ones((1, 2, 3, 4), np.float32)}
    for fails in (lambda: session.run(wrong), lambda: session.time(wrong, 2)):
        with pytest.raises(RunError):
            fails()
    assert session.profile({"x": np.ones((1, 1, 8, 8), np.float32)}, 1) == ()
    session.close()
    with pytest.raises(RunError, match="the session is closed"):
        session.run({})
