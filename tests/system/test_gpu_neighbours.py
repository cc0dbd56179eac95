"""Other processes on a GPU, from a made-up driver."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from precsearch.system.disturbance import NoWatch, Seen
from precsearch.system.gpu_neighbours import DeviceWatch, device_watch

OURS, OTHER = 100, 200


class Driver:
    """What pynvml offers, as far as it is used."""

    class NVMLError(Exception):
        pass

    def __init__(self, running: tuple[int, ...] = (OURS, OTHER), devices: int = 1) -> None:
        self.running = running
        self.devices = devices
        self.samples: list[Any] = []

    def nvmlInit(self) -> None:  # noqa: N802 - pynvml's name
        if self.devices == 0:
            raise self.NVMLError("no driver")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - pynvml's name
        return self.devices

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802 - pynvml's name
        return f"device {index}"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802 - pynvml's name
        return [SimpleNamespace(pid=pid) for pid in self.running]

    def nvmlDeviceGetProcessUtilization(self, handle: str, since: int) -> list[Any]:  # noqa: N802 - pynvml's name
        found = [s for s in self.samples if s.timeStamp > since]
        if not found:
            raise self.NVMLError("not found")
        return found

    def sample(self, time: int, pid: int, used: int) -> None:
        self.samples.append(SimpleNamespace(timeStamp=time, pid=pid, smUtil=used))


def test_another_process_that_computes_is_seen_until_the_next_sample() -> None:
    driver = Driver()
    watch = DeviceWatch(driver, "device 0", OURS)
    assert watch.look() == Seen()
    driver.sample(1, OURS, 90)
    assert watch.look() == Seen()
    driver.sample(2, OTHER, 30)
    assert watch.look() == Seen(others=True)
    assert watch.look() == Seen(others=True)
    driver.sample(3, OTHER, 0)
    assert watch.look() == Seen()


def test_without_our_process_in_the_list_of_the_driver_no_neighbour_is_seen() -> None:
    driver = Driver(running=(OTHER, 300))
    driver.sample(1, OTHER, 90)
    assert DeviceWatch(driver, "device 0", OURS).look() == Seen()


@pytest.mark.parametrize(("devices", "kind"), [(0, NoWatch), (1, DeviceWatch), (2, NoWatch)])
def test_several_devices_are_not_watched(
    devices: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Driver((os.getpid(),), devices))
    assert type(device_watch()) is kind


def test_without_pynvml_no_neighbour_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert device_watch().look() == Seen()
