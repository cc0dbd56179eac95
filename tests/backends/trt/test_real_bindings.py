"""The real Python bindings of each version, imported over stub libraries.

pytest -m network tests/backends/trt     (a package index and a C compiler; see bindings.py)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.trt.simulation.test_simulated_build import small_model
from tests.backends.trt.stand_in.bindings import (
    SURFACE,
    WHEELS,
    cache_folder,
    dump,
    stubs,
    text_of,
    unpacked,
)
from tests.backends.trt.test_backend_surface import EXPECTED

pytestmark = pytest.mark.network

ROOT = Path(__file__).resolve().parents[3]
HERE = sys.version_info[:2]


@pytest.mark.parametrize("version", WHEELS)
def test_the_committed_dump_is_what_the_wheel_offers(version: str) -> None:
    assert text_of(dump(version, cache_folder())) == (SURFACE / f"{version}.json").read_text()


def driven(version: str) -> dict[str, Any]:
    """What `drive.py` prints with the bindings of a version, in this Python."""
    cache = cache_folder()
    paths = [unpacked(version, HERE, cache), ROOT, ROOT / "strategies"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "LD_LIBRARY_PATH": str(stubs(version, cache)),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "stand_in" / "drive.py")],
        input=small_model().SerializeToString(),
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("version", [v for v, wheel in WHEELS.items() if wheel.fits(HERE)])
def test_the_backend_reaches_the_builder(version: str) -> None:
    found = driven(version)
    assert found["caps"] == asdict(replace(EXPECTED[version], version=version))
    assert found["warnings"] == ["a warning"]
    assert found["errors"] == ["an error"]
    assert found["flags"] == {"8": 1, "10": 3, "11": 1}[version.partition(".")[0]]
    assert found["build"].startswith("BuildError: TensorRT cannot start")
    assert found["fingerprint"].startswith(("OptionError: ", "RunError: "))
    assert "float16" in found["float"]
    assert found["entry"] == ([2**64 - 2, 0.5] if EXPECTED[version].editable_cache else [])
