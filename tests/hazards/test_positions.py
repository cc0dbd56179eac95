"""Positions that FP16 rounds to others, and norms that square inside, are hazards by rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from precsearch.api import inspect
from precsearch.core.precision import Precision
from precsearch.diagnosis.compare import DiagnoseConfig, diagnose
from precsearch.graph.work import sized
from precsearch.grouping.group import group
from precsearch.hazards import harmful_constants, hazards, screened_tensors, softmax_axes, suspected
from precsearch.hazards.collect import Screening, screen
from tests.graph.plain_runs import lowered
from tests.graph.small_layers import SCHEME, GraphBuilder, view

HALF = frozenset({Precision.FP32, Precision.FP16})
Feed = dict[str, np.ndarray]


def reasons(model: onnx.ModelProto, feed: Feed) -> dict[str, str]:
    """Group key → why it should not run in FP16."""
    graph = view(model)
    found = screen(
        Screening(lowered(graph), "", screened_tensors(graph), softmax_axes(graph)), [feed]
    )
    graph = sized(graph, {k: v.shape for k, v in feed.items()})
    space = group(graph, SCHEME, HALF, "node")
    priors = hazards(graph, space, found, SCHEME)
    assert suspected(graph, found) == bool(priors)
    return {p.key: p.reason for p in priors}


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).normal(0, scale, shape).astype(np.float32)


NORMS = ("InstanceNormalization", "GroupNormalization", "LpNormalization", "LRN")


def normed(op_type: str) -> onnx.ModelProto:
    b = GraphBuilder(21)
    x = b.input(["n", 8, 4, 4])
    if op_type in ("LpNormalization", "LRN"):
        extra: dict[str, Any] = {"size": 3} if op_type == "LRN" else {"axis": 1}
        y = b.op(op_type, x, **extra)
    else:
        more: dict[str, Any] = {} if op_type.startswith("Inst") else {"num_groups": 2}
        y = b.op(op_type, x, b.const(np.ones(8)), b.const(np.zeros(8)), **more)
    b.output(b.op("Relu", y))
    return b.model()


@pytest.mark.parametrize("op_type", NORMS)
def test_a_norm_that_squares_large_values_is_a_hazard_and_one_of_small_values_is_none(
    op_type: str,
) -> None:
    model = normed(op_type)
    large = reasons(model, {"in0": normal(2, 8, 4, 4, scale=300)})
    assert f"inside of {op_type} 't0' values reach" in large["t0"]
    assert not reasons(model, {"in0": normal(2, 8, 4, 4)})


def test_norms_of_absolute_values_do_not_square() -> None:
    b = GraphBuilder()
    b.output(b.op("LpNormalization", b.input(["n", 8]), axis=1, p=1))
    assert not reasons(b.model(), {"in0": normal(2, 8, scale=300)})


def flow(width: int) -> tuple[onnx.ModelProto, Feed]:
    """Optical flow: a pixel grid plus a displacement, scaled to [-1, 1]."""
    b = GraphBuilder()
    image, shift = b.input(["n", 2, 4, "w"]), b.input(["n", 4, "w", 2])
    y, x = np.mgrid[0:4, 0:width]
    moved = b.op("Add", shift, b.const(np.stack([x, y], -1)[None]))
    scaled = b.op("Div", moved, b.const([(width - 1) / 2, 1.5]))
    grid = b.op("Sub", scaled, b.const(1.0))
    b.output(b.op("GridSample", image, grid, align_corners=1, padding_mode="border"))
    return b.model(), {"in0": normal(1, 2, 4, width), "in1": normal(1, 4, width, 2)}


def test_coordinates_of_a_wide_image_are_a_hazard_from_where_they_are_computed() -> None:
    found = reasons(*flow(768))
    assert {"t0", "t1", "t3"} <= set(found)
    assert "GridSample 't3' reads its 768 pixels" in found["t3"]
    assert not reasons(*flow(32))


def test_resize_beyond_2048_counts_positions_that_fp16_lacks() -> None:
    def resized(width: int) -> dict[str, str]:
        b = GraphBuilder()
        x = b.input(["n", 1, 2, "w"])
        b.output(b.op("Resize", x, "", b.const([1, 1, 1, 2]), mode="linear"))
        return reasons(b.model(), {"in0": normal(1, 1, 2, width)})

    assert "positions inside of Resize 't0' reach 4096" in resized(2048)["t0"]
    assert not resized(64)


def test_whole_numbers_beyond_2048_are_a_hazard_for_their_readers() -> None:
    def counted(length: int) -> dict[str, str]:
        b = GraphBuilder()
        x, places = b.input(["n", "s"]), b.input(["s"], TensorProto.INT64)
        b.output(b.op("Add", x, b.op("Cast", places, to=TensorProto.FLOAT)))
        feed = {"in0": normal(1, length), "in1": np.arange(length)}
        return {k: r for k, r in reasons(b.model(), feed).items() if "whole numbers" in r}

    assert "whole numbers 't0' up to 4095" in counted(4096)["t1"]
    assert not counted(2048), "all of them have a number in FP16"


def test_large_angles_are_a_hazard_for_sine_and_cosine() -> None:
    def turned(scale: float) -> dict[str, str]:
        b = GraphBuilder()
        angle = b.op("Mul", b.input(["n", 64]), b.const(scale))
        b.output(b.op("Add", b.op("Sin", angle), b.op("Cos", angle)))
        return reasons(b.model(), {"in0": normal(2, 64)})

    found = turned(300.0)
    assert "reads angles up to" in found["t1"]
    assert {"t0", "t1", "t2"} <= set(found)
    assert not turned(1.0)


def masked(shift: float) -> tuple[onnx.ModelProto, Feed]:
    """Scores masked by Where; with a shift, the mask takes part in what comes out."""
    b = GraphBuilder()
    x, keep = b.input(["n", 8]), b.input(["n", 8], TensorProto.BOOL)
    scores = b.op("Where", keep, x, b.const(np.finfo(np.float32).min))
    if shift:
        b.output(b.op("Mul", scores, b.const(shift)))
    else:
        b.output(b.op("Softmax", scores, axis=-1))
    keep_all_but_last = np.ones((2, 8), bool)
    keep_all_but_last[:, -1] = False
    return b.model(), {"in0": normal(2, 8), "in1": keep_all_but_last}


def test_a_mask_by_where_is_harmless_before_a_softmax_alone() -> None:
    assert not reasons(*masked(0.0))
    assert reasons(*masked(1e-30))


# `inspect --data` and `diagnose` agree.


def files(folder: Path, model: onnx.ModelProto, feed: Feed) -> tuple[Path, Path]:
    onnx.save(model, folder / "m.onnx")
    arrays: dict[str, Any] = dict(feed)
    np.savez(folder / "data.npz", **arrays)
    return folder / "m.onnx", folder / "data.npz"


def test_diagnose_names_hazards_that_its_comparison_does_not_show(tmp_path: Path) -> None:
    model, data = files(tmp_path, normed(NORMS[0]), {"in0": normal(4, 8, 4, 4, scale=300)})
    looked = inspect(model, backend="onnxruntime", data=data)
    (prior,) = looked.hazards
    found = diagnose(DiagnoseConfig(model, data, backend="onnxruntime"))
    (note,) = [n for n in found.notes if n.startswith("by rule")]
    assert f"group {prior.key!r}" in note
    assert prior.reason.removeprefix("FP16 excluded: ") in note


def test_diagnose_does_not_blame_a_mask_that_inspect_calls_harmless(tmp_path: Path) -> None:
    model, data = files(tmp_path, *masked(0.0))
    assert not inspect(model, backend="onnxruntime", data=data).hazards
    (constant,) = diagnose(DiagnoseConfig(model, data, backend="onnxruntime")).constants
    assert constant.harmless
    model, data = files(tmp_path, *masked(1e-30))
    (constant,) = diagnose(DiagnoseConfig(model, data, backend="onnxruntime")).constants
    assert not constant.harmless
    graph = view(masked(1e-30)[0])
    assert harmful_constants(graph, group(graph, SCHEME, HALF), None)
