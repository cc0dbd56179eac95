"""Where services of this machine keep files: what is shared, and what is the run's alone."""

from __future__ import annotations

from pathlib import Path

from precsearch.core.device import DeviceSpec
from precsearch.executors.model_files import ModelFiles
from precsearch.executors.process.executor import ProcessExecutor
from precsearch.executors.process.start import environment

PAIR = (DeviceSpec(cores=(0,)), DeviceSpec(index=1, cores=(1,)))


def opened(folder: Path, devices: tuple[DeviceSpec, ...] = (DeviceSpec(),)) -> ProcessExecutor:
    return ProcessExecutor(devices, ModelFiles(folder / "m.onnx", "d"), folder, shared=True)


def test_each_device_has_a_lock_and_a_build_cache_of_its_own(tmp_path: Path) -> None:
    executor = opened(tmp_path, PAIR)
    first, second = (executor.place(d) for d in executor.devices())
    assert first.lock != second.lock
    assert first.build_cache != second.build_cache
    assert first.engines == second.engines, "devices of one kind build each engine once"
    executor.close()
    alone = opened(tmp_path).place(DeviceSpec())
    assert (Path(str(alone.lock)).name, Path(alone.build_cache).name) == (
        "device.lock",
        "build.cache",
    )


def test_engines_are_neither_found_in_a_run_directory_nor_left_there(tmp_path: Path) -> None:
    planted = tmp_path / "engines-planted"
    planted.mkdir()
    (planted / "a.engine").write_bytes(b"somebody's code")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "engines-link").symlink_to(elsewhere)
    executor = opened(tmp_path)
    folder = Path(executor.place(DeviceSpec()).engines)
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0
    assert list(folder.iterdir()) == []
    assert not planted.exists()
    assert elsewhere.exists(), "a link is not followed"
    executor.close()
    assert not folder.exists()


def test_a_child_sees_its_gpu_alone() -> None:
    assert "CUDA_VISIBLE_DEVICES" not in environment(DeviceSpec(kind="cpu", index=1))
    assert environment(DeviceSpec(kind="gpu", index=2))["CUDA_VISIBLE_DEVICES"] == "2"
