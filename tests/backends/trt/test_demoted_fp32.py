"""TensorRT may compute an FP32 product in FP16, which its layers alone show: it is reported.

The layers are those that TensorRT-RTX 1.7.1 logged for a product among FP16 ones, built for SM89:
with the guard of the lowering (`precsearch.lowering.engines.fp32_islands`) and without it. A
simulated TensorRT gives them through its engine inspector, in the words of each generation.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from precsearch.backends.tensorrt import backend as module
from precsearch.backends.tensorrt import installed as places
from precsearch.backends.tensorrt.backend import TensorRtBackend
from precsearch.backends.tensorrt.listing import read_listing
from precsearch.core.backend import BackendOptions, TellsPrecisions
from precsearch.core.precision import Precision
from precsearch.lowering.lower import Lowered
from precsearch.measurement.profiling import achieved_precisions, products_told, profiled
from precsearch.replay.achieved import asked_and_ran
from precsearch.system.serialized import SerializedModel
from tests.backends.trt.simulation.test_simulated_run import SHAPES, FakeCuda, with_engine

LISTINGS = Path(__file__).parent / "stand_in" / "listings"
FP32, FP16 = Precision.FP32, Precision.FP16
PRODUCTS = ("t0", "t1", "t2")
OWNERS = {name: f"group {name}" for name in PRODUCTS}
ASKED = {"t0": FP16, "t2": FP16}
"""The product in the middle was asked for FP32."""
_PARTS = ("Inputs", "Constants", "Outputs")
_TENSOR = re.compile(r"\{ Name: (.*?), Dimensions: \[(.*?)\].*?Datatype: (\w+), Format: (.*?) \}")
_OLDER = {"Float": "FP32", "Half": "FP16"}


def lines(name: str) -> list[str]:
    return (LISTINGS / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def inspected(line: str, *, eleven: bool, constants: bool) -> dict[str, Any]:
    """A line of the log as the inspector's JSON has it."""
    head = re.match(r"Name: (.*?), LayerType: (.*?), Inputs", line)
    assert head is not None
    row: dict[str, Any] = {"Name": head[1], "LayerType": head[2]}
    for part in _PARTS:
        found = re.search(rf"{part}: \[(.*?)\], (?:Constants|Outputs|TacticName)", line)
        if found is None or (part == "Constants" and not constants):
            continue
        row[part] = [
            {"Name": name, "Dimensions": [int(d) for d in dims.split(",")], **typed}
            for name, dims, kind, layout in _TENSOR.findall(found[1])
            for typed in [
                {"Datatype": kind, "Format": layout}
                if eleven
                else {"Format/Datatype": f"Row major linear {_OLDER[kind]} format"}
            ]
        ]
    row["Metadata"] = "".join(re.findall(r"\[ONNX Layer: .*?\]", line)).replace("][", "]\x1e[")
    return row


@pytest.mark.parametrize("constants", [True, False], ids=["constants listed", "not listed"])
@pytest.mark.parametrize("version", ["10.0.1", "10.16.1.11", "11.0.0.114", "11.4.0.106"])
@pytest.mark.parametrize("kind", ["conv", "matmul"])
def test_a_product_between_casts_that_ran_in_fp16_is_reported(
    kind: str, version: str, constants: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = {
        form: _measured(f"{kind}_{form}", version, constants, monkeypatch)
        for form in ("demoted", "guarded")
    }
    both = {"group t0": FP16, "group t2": FP16}
    assert ran["guarded"] == both
    assert ran["demoted"] == {**both, "group t1": FP16}


def _measured(
    name: str, version: str, constants: bool, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Precision]:
    """What groups ran in, as a search measures it."""
    made, _, _ = with_engine(version)
    eleven = version.startswith("11")
    rows = [inspected(line, eleven=eleven, constants=constants) for line in lines(name)]

    def ran(context: Any, stream: int) -> bool:
        if profiler := context.__dict__.get("_profiler"):
            for row in rows:
                profiler.report_layer_time(row["Name"], 0.5)
        return True

    made.behaviour["EngineInspector.get_engine_information"] = lambda self, kind: json.dumps(
        {"Layers": rows}
    )
    made.behaviour["IExecutionContext.execute_async_v3"] = ran
    monkeypatch.setattr(places, "_LOADED", {})
    monkeypatch.setattr(module, "import_tensorrt", lambda: made.module)
    monkeypatch.setattr(places, "Cuda", FakeCuda)
    assert isinstance(TensorRtBackend(BackendOptions()), TellsPrecisions)
    backend: Any = TensorRtBackend(BackendOptions())
    kernels = profiled(backend, b"engine", {"x": np.ones(SHAPES["x"], np.float32)})
    told = products_told(backend, b"engine", PRODUCTS)
    lowered = Lowered(SerializedModel(()), "", {}, ASKED, OWNERS, {}, products=PRODUCTS)
    said = asked_and_ran(lowered, told)
    assert [line.partition(": ")[2] for line in said] == (
        ["'group t1': asked fp32, runs fp16"] if "demoted" in name else []
    )
    return achieved_precisions(kernels, ASKED, OWNERS, told=told)


@pytest.mark.parametrize("kind", ["conv", "matmul"])
def test_the_guard_adds_no_layer(kind: str) -> None:
    guarded, demoted = (read_listing(lines(f"{kind}_{form}")) for form in ("guarded", "demoted"))
    assert len(guarded) == len(demoted) == 5
