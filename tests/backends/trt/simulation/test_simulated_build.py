"""The backend builds on every version's own surface: what is missing there is never reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from precsearch.backends.tensorrt.building.builder import Built, EngineBuilder
from precsearch.backends.tensorrt.capabilities import probe
from precsearch.backends.tensorrt.logger import Lines, make_logger
from precsearch.backends.tensorrt.options import TensorRtOptions
from precsearch.backends.tensorrt.scheme import scheme
from precsearch.core.backend import TYPED_HALF, WEAK, GraphForm
from precsearch.core.errors import BuildError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.graph.view import GraphView
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.scales import FixedScales, QuantParams
from precsearch.lowering.tensor_names import scale_key
from tests.backends.trt.stand_in.parsed import tensorrt
from tests.backends.trt.stand_in.simulated import Simulated
from tests.backends.trt.stand_in.surface import VERSIONS

CHOICES = frozenset(Precision)
WEAKS = VERSIONS[:4]
TYPEDS = VERSIONS[2:]


def small_model() -> onnx.ModelProto:
    """Conv, Relu, Conv, Flatten, MatMul, Add, Softmax."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((16, 3, 3, 3)),
        "w2": rng.standard_normal((16, 16, 3, 3)),
        "w3": rng.standard_normal((256, 32)),
        "b3": rng.standard_normal(32),
    }
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["first"], pads=pads),
        helper.make_node("Relu", ["first"], ["relu"]),
        helper.make_node("Conv", ["relu", "w2"], ["second"], pads=pads),
        helper.make_node("Flatten", ["second"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w3"], ["dense"]),
        helper.make_node("Add", ["dense", "b3"], ["bias"]),
        helper.make_node("Softmax", ["bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 32])],
        [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def opened(folder: Path, form: GraphForm) -> tuple[GraphView, SearchSpace]:
    path = folder / "small.onnx"
    onnx.save(small_model(), path)
    graph = prepare(read_model(path), form.min_opset)
    return graph, group(graph, scheme(), CHOICES, "node")


def lowered(folder: Path, form: GraphForm, **asked: str) -> bytes:
    """The small model with what is asked of the nodes that write these tensors."""
    graph, space = opened(folder, form)
    assignment = Assignment.of({key: Precision(p) for key, p in asked.items()})
    tensors = {t for n in graph.nodes for t in (*n.inputs, *n.outputs)}
    keys = {scale_key(t, p) for t in tensors - graph.weights.keys() for p in scheme().precisions}
    scales = FixedScales(dict.fromkeys(keys, QuantParams(0.05, 0)))
    return Lowering(graph, space, scheme(), scales, form).lower(assignment).model


def built(made: Simulated, model: bytes, form: GraphForm, **knobs: str) -> Built:
    trt = made.module
    lines = Lines()
    logger = make_logger(trt, lines)
    weak = form is WEAK
    builder = EngineBuilder(trt, probe(trt), TensorRtOptions.of(knobs), logger, lines, weak=weak)
    return builder.build(model, "", ())


def networks(made: Simulated, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The networks that a build makes, in a list that fills up."""
    found: list[Any] = []

    def created(self: Any, flags: int = 0) -> Any:
        found.append(made.make("INetworkDefinition"))
        return found[-1]

    monkeypatch.setitem(made.behaviour, "Builder.create_network", created)
    return found


def flags_of(made: Simulated) -> set[str]:
    return {flag.name for (flag,) in made.named("IBuilderConfig.set_flag")}


def asked_of(made: Simulated) -> set[str]:
    """The flags that say how to compute."""
    return flags_of(made) - {"EDITABLE_TIMING_CACHE"}


@pytest.mark.parametrize("version", TYPEDS)
def test_a_typed_build_says_it_is_typed_and_sets_no_precision(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)
    model = lowered(tmp_path, TYPED_HALF, first="int8", second="fp16", dense="fp16")
    assert built(made, model, TYPED_HALF).engine
    ((flags,),) = made.named("Builder.create_network")
    assert flags & 1 << int(made.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert asked_of(made) == {"TF32"}
    assert made.named("ILayer.precision=") == []


@pytest.mark.parametrize("version", TYPEDS)
@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"second": "bf16", "dense": "bf16"}, TensorProto.BFLOAT16),
        ({"first": "fp8", "dense": "fp8"}, TensorProto.FLOAT8E4M3FN),
        ({"dense": "int4"}, TensorProto.INT4),
    ],
    ids=["bf16", "fp8", "int4"],
)
def test_the_newer_formats_are_types_of_the_graph_and_no_flags(
    asked: dict[str, str], kind: int, version: str, tmp_path: Path
) -> None:
    made, form = tensorrt(version), TYPED_HALF.raised(22)
    model = lowered(tmp_path, form, **asked)
    graph = onnx.load_model_from_string(model).graph
    casts = {a.i for n in graph.node if n.op_type == "Cast" for a in n.attribute}
    assert kind in casts | {t.data_type for t in graph.initializer}
    assert built(made, model, form).engine
    ((flags,),) = made.named("Builder.create_network")
    assert flags & 1 << int(made.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert asked_of(made) == {"TF32"}


@pytest.mark.parametrize("version", WEAKS)
def test_a_weakly_typed_build_pins_fp32_layers(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tensorrt(version)
    found = networks(made, monkeypatch)
    model = lowered(tmp_path, WEAK, second="int8", dense="fp16", bias="fp16")
    assert built(made, model, WEAK).engine
    assert asked_of(made) == {"TF32", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"}
    (network,) = found
    set_to = {
        layer.tensors[0].name: layer.precision.name
        for layer in network.layers
        if "_precision" in layer.__dict__
    }
    assert set_to["y"] == "FLOAT"
    assert set(set_to.values()) == {"FLOAT"}  # FP16 is allowed, not ordered
    assert not {"second", "dense", "dense_helper"} & set(set_to)


@pytest.mark.parametrize("version", WEAKS)
def test_a_build_without_pins_sets_no_precision_constraint(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)
    int8 = dict.fromkeys(("first", "second", "dense"), "int8")
    halves = dict.fromkeys(("relu", "flat", "bias", "y"), "fp16")
    assert built(made, lowered(tmp_path, WEAK, **int8, **halves), WEAK).engine
    assert made.named("ILayer.precision=") == []
    assert asked_of(made) == {"TF32", "FP16", "INT8"}


@pytest.mark.parametrize("version", WEAKS)
def test_fp16_can_be_ordered_and_outputs_stay_fp32(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tensorrt(version)
    found = networks(made, monkeypatch)
    model = lowered(tmp_path, WEAK, dense="fp16", y="fp16")
    built(made, model, WEAK, layer_precisions="all")
    (network,) = found
    kinds = {layer.tensors[0].name: layer.precision.name for layer in network.layers}
    assert kinds["dense"] == kinds["y"] == "HALF"
    assert kinds["dense_helper"] == "HALF"  # the helper layer belongs to the MatMul after it
    typed = {name for name, _ in _typed(made, network)}
    assert "y" not in typed
    assert "dense" in typed


def _typed(made: Simulated, network: Any) -> list[tuple[str, str]]:
    """What set_output_type was called for; a layer's calls follow its precision."""
    order = [layer for layer in network.layers if "_precision" in layer.__dict__]
    names = [layer.tensors[0].name for layer in order if not layer.tensors[0].is_network_output]
    kinds = [kind.name for _, kind in made.named("ILayer.set_output_type")]
    return list(zip(names, kinds, strict=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_fp32_build_sets_nothing(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)
    form = WEAK if version in WEAKS else TYPED_HALF
    built(made, lowered(tmp_path, form), form, tf32="false")
    assert asked_of(made) == set()
    assert [f.name for (f,) in made.named("IBuilderConfig.clear_flag")] == ["TF32"]
    assert made.named("ILayer.precision=") == []


@pytest.mark.parametrize("version", TYPEDS)
def test_a_weakly_typed_model_that_is_built_in_fp32_is_reported(
    version: str, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="it would run in FP32"):
        built(tensorrt(version), lowered(tmp_path, WEAK, dense="fp16"), TYPED_HALF)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_device_that_does_not_start_is_a_build_error(version: str, tmp_path: Path) -> None:
    made = tensorrt(version)

    def null(self: Any, logger: Any) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    made.behaviour["Builder.__init__"] = null
    form = WEAK if version in WEAKS else TYPED_HALF
    with pytest.raises(BuildError, match="TensorRT cannot start"):
        built(made, lowered(tmp_path, form), form)
