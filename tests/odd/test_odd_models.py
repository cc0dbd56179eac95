"""Odd models: any assignment runs and gives what the original gives, within its precision."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

import precsearch
from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.calibration.ranges import Calibration, collect_ranges
from precsearch.core.backend import BackendOptions, Feed
from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, SearchSpace
from precsearch.data import input_specs, load
from precsearch.graph.opset import without_names
from precsearch.graph.prepare import prepare
from precsearch.graph.reading.read import read_model
from precsearch.grouping.group import group
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.reference.session import reference_outputs
from tests.odd.models.odd_graphs import qat
from tests.odd.models.odd_models import MODELS, REFUSED, Make

BACKEND = OnnxRuntimeBackend(BackendOptions(threads=1))
NUMB = {"integers alone", "FP64 throughout"}
"""What has nothing to lower."""


def saved(make: Make, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(make(), path)
    return path


def assignments(space: SearchSpace, able: frozenset[str]) -> Iterator[Assignment]:
    """FP32, each precision everywhere, and neighbours that disagree."""
    yield Assignment()
    cycles: Sequence[Sequence[Precision]] = (
        (Precision.FP16,),
        (Precision.INT8,),
        (Precision.INT8, Precision.FP16),
        (Precision.FP16, Precision.FP32, Precision.INT8),
    )
    for cycle in cycles:
        wanted = {
            g.key: cycle[i % len(cycle)]
            for i, g in enumerate(space.free)
            if cycle[i % len(cycle)] in g.choices
            and (g.key in able or cycle[i % len(cycle)] is not Precision.INT8)
        }
        yield space.canonical(Assignment.of(wanted))


def difference(got: Feed, wanted: Feed) -> float:
    """Largest relative L2 over float outputs; shapes and types must agree."""
    assert set(got) == set(wanted)
    worst = 0.0
    for name, value in wanted.items():
        a, b = np.asarray(got[name]), np.asarray(value)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        if b.dtype.kind == "f" and b.size:
            c, d = a.astype(np.float64), b.astype(np.float64)
            worst = max(worst, float(np.linalg.norm(c - d)) / max(float(np.linalg.norm(d)), 1e-9))
    return worst


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("opset", [13, 19])
def test_any_assignment_runs_as_the_original(name: str, opset: int, tmp_path: Path) -> None:
    path = saved(MODELS[name], tmp_path)
    source = read_model(path)
    graph = prepare(source, opset)
    space = group(graph, BACKEND.scheme, frozenset(Precision))
    feeds = load(None, input_specs(graph.inputs)).feeds[:2]
    anonymous = without_names(source.proto)
    own = source.proto if anonymous is None else anonymous
    original = str(path) if own is source.proto and not source.notes else own.SerializeToString()
    reference = reference_outputs(original, feeds)
    tensors = quantizable(graph, BACKEND.scheme, space)
    plain = Lowering(graph, space, BACKEND.scheme, RangeScales({}, BACKEND.scheme))
    names = tuple(sorted(frozenset().union(*tensors.values())))
    ranges = collect_ranges(Calibration(plain.lower(Assignment()).model, "", names), feeds)
    able = frozenset(k for k, wanted in tensors.items() if wanted <= ranges.keys())
    lowering = Lowering(graph, space, BACKEND.scheme, RangeScales(ranges, BACKEND.scheme))
    assert bool(space.free) == (name not in NUMB)
    for assignment in assignments(space, able):
        if name == "FP16 throughout" and assignment.keys_at(Precision.FP16):
            continue  # ONNX Runtime 1.32 fuses a LayerNorm with the output's Cast, and refuses that
        session = BACKEND.open(lowering.lower(assignment).model)
        worst = max(difference(session.run(f), r) for f, r in zip(feeds, reference, strict=True))
        if name != "random numbers inside":
            assert worst <= (0.08 if assignment else 1e-6), assignment


SEARCHED = [
    "If: branches read tensors outside, nested",
    "model-local function",
    "Q/DQ of its author, opset 17",
    "FP16 throughout",
    "opset 9, IR 3, weights as inputs",
    "one name for all nodes",
    "zero-size tensors",
    "int and bool outputs",
    "state in, state out",
]


@pytest.mark.parametrize("name", SEARCHED)
def test_a_search_ends_with_a_plan_that_replays(name: str, tmp_path: Path) -> None:
    path = saved(MODELS[name], tmp_path)
    plan = precsearch.optimize(
        path, tol=5e-2, threads=1, max_builds=3, output=tmp_path / "model.plan.json"
    ).plan
    engines = [t for t in plan.evidence.trials if t.fidelity == "engine"]
    assert not [t.failed for t in engines if t.failed]
    assert any(t.counts for t in engines) == (name not in NUMB)
    report = precsearch.build(tmp_path / "model.plan.json", path, tmp_path / "built.onnx")
    assert report.sha256 == plan.recipe.materialised_sha256


SENTENCES = {
    "operator of an unknown domain": "it has no operator 'Mystery' of domain 'com.example'",
    "Add with one input": "Add node 't1' has 1 input where ONNX wants 2",
    "undefined tensor": "Relu node 't1' reads tensor 'nowhere', which nothing writes",
    "tensor named like a form of another": "'t0//half' has a name that precsearch needs",
    "unknown operator, opset 11": "operator set 11 has no operator 'Mystery'",
    "opset 99": "ONNX Runtime refuses the model: ONNX Runtime only *guarantees* support",
    "tensor written twice": "tensor 't0' is written twice",
    "string input": "input 'text' is not a tensor of numbers",
}


@pytest.mark.parametrize("name", REFUSED)
def test_unusable_models_are_refused_in_one_sentence(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(REFUSED[name], tmp_path)
    with pytest.raises(ModelError) as error, caplog.at_level(logging.DEBUG):
        precsearch.optimize(path, output=tmp_path / "plan.json")
    assert SENTENCES[name] in str(error.value)
    assert ";" in str(error.value), "it says what to change"
    assert "\n" not in str(error.value)
    assert "Traceback" not in caplog.text
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_the_authors_quantization_stays_and_the_rest_is_searched(
    opset: int, tmp_path: Path
) -> None:
    graph = prepare(read_model(saved(lambda: qat(opset), tmp_path)))
    space = group(graph, BACKEND.scheme, BACKEND.precisions)
    theirs = [n for n in graph.nodes if n.is_op("QuantizeLinear", "DequantizeLinear")]
    assert len(theirs) == 3
    int8 = space.uniform(Precision.INT8)
    touched = {t for n in theirs for t in (*n.inputs, *n.outputs)}
    free = {k for g in space.groups if g.key in int8 for k in g.nodes}
    assert len(int8) >= 2
    assert not free & {n.key for n in graph.nodes if touched & {*n.inputs} and n not in theirs}

    tensors = quantizable(graph, BACKEND.scheme, space)
    ranges = {t: TensorRange(-4, 4) for wanted in tensors.values() for t in wanted}
    lowering = Lowering(graph, space, BACKEND.scheme, RangeScales(ranges, BACKEND.scheme))
    made = onnx.ModelProto.FromString(lowering.lower(int8).model)
    written = {n.output[0]: n for n in made.graph.node}
    constants = {t.name: t for t in made.graph.initializer}
    for node in theirs:
        assert written[node.outputs[0]] == node.proto
    for tensor in touched & graph.weights.keys():
        assert constants[tensor].SerializeToString() == graph.weights[tensor].proto_bytes
    ours = [n for n in made.graph.node if n.op_type == "QuantizeLinear"]
    assert len(ours) > 1, "INT8 went on around them"
