"""What `--devices` means, and what a run refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from precsearch.api import OptimizeConfig
from precsearch.core.backend import BackendFacts
from precsearch.core.device import DeviceSpec
from precsearch.core.errors import OptionError
from precsearch.setup.devices import devices_of, parse_devices

CPU, GPU = BackendFacts(device="cpu"), BackendFacts(device="gpu")


def run_on(devices: str, threads: int = 0) -> OptimizeConfig:
    return OptimizeConfig(Path("m.onnx"), devices=devices, threads=threads)


def test_without_the_option_an_engine_takes_its_own_device() -> None:
    assert devices_of(run_on(""), CPU) == (DeviceSpec(),)
    assert devices_of(run_on(""), GPU) == (DeviceSpec(kind="gpu"),)


def test_the_same_text_names_gpus_or_sets_of_cores() -> None:
    assert [d.name for d in parse_devices("1,0", "gpu")] == ["gpu:1", "gpu:0"]
    assert [d.name for d in parse_devices("1,0", "cpu")] == ["cpu:1", "cpu:0"]
    assert [d.cores for d in parse_devices("0-2, 4+6+8", "cpu")] == [(0, 1, 2), (4, 6, 8)]


@pytest.mark.parametrize("text", ["", "a", "0;1", "-1", "3-1", "0,,1", "0-", "1e3", "0-9999"])
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_option_that_names_no_devices_is_refused(text: str, kind: str) -> None:
    with pytest.raises(OptionError, match="--devices takes devices separated by commas"):
        parse_devices(text, kind)


def test_a_gpu_is_one_index() -> None:
    with pytest.raises(OptionError, match="of GPUs their indices"):
        parse_devices("0-1", "gpu")


@pytest.mark.parametrize(
    ("text", "threads", "said"),
    [
        ("0,0", 0, "names core 0 twice"),
        ("0-1,1-2", 0, "names core 1 twice"),
        ("0,1+2", 0, "different numbers of cores"),
        ("0", 2, "--threads asks for 2 threads, and each device of --devices has 1 cores"),
        ("4094", 0, "this process may not use core 4094, which --devices names; it may use"),
    ],
)
def test_devices_that_overlap_or_are_missing_are_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, threads: int, said: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    with pytest.raises(OptionError, match=said):
        devices_of(run_on(text, threads), CPU)
