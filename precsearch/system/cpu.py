"""The CPU of this machine: its name, its cores, and what its integer instructions can do."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

__all__ = ["cpu_features", "cpu_name", "int8_saturates", "physical_cores"]


def cpu_features() -> tuple[str, ...]:
    """Instruction sets of this CPU that decide which integer kernels run, sorted."""
    features = {"avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8"}
    features |= {"asimddp", "i8mm"}  # Arm
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return tuple(sorted(features & set(match.group(1).split()))) if match else ()


def physical_cores() -> int:
    """Cores that this process may use, hyper-threads counted once."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not on this system
        return max(1, (os.cpu_count() or 2) // 2)
    siblings = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def int8_saturates(features: tuple[str, ...]) -> bool:
    """Whether products of uint8 and int8 are summed in 16 bits: x86 before VNNI."""
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
    return x86 and bool(features) and not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(features)


def cpu_name() -> str:
    """What the system calls this CPU."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else platform.machine()
