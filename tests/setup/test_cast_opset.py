"""A model older than a float format's operators is raised to the operator set that has them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from precsearch.core.errors import ModelError
from precsearch.core.precision import Precision
from precsearch.graph import prepare as preparing
from precsearch.graph.opset import raise_opset
from precsearch.graph.reading.read import read_model
from precsearch.setup.target import Target, open_target
from tests.graph.small_graphs import GraphBuilder, conv, conv_net, transformer

BF16, FP16, FP32, INT8 = Precision.BF16, Precision.FP16, Precision.FP32, Precision.INT8


def opened(
    folder: Path,
    model: onnx.ModelProto,
    *precisions: Precision,
    backend: str = "tensorrt-rtx",
    form: str | None = None,
) -> Target:
    onnx.save(model, folder / "model.onnx")
    build = {"target": "sm89"} if backend == "tensorrt-rtx" else {}
    source = read_model(folder / "model.onnx")
    return open_target(source, backend, precisions, "node", 1, form=form, build=build)


def test_a_cnn_of_an_old_operator_set_is_offered_bf16_in_its_convolutions(tmp_path: Path) -> None:
    target = opened(tmp_path, conv_net(), FP32, BF16)
    assert (target.form.name, target.graph.opsets[""]) == ("typed-half-22", 22)
    for node in target.graph.nodes:
        if node.is_op("Conv", "MaxPool", "Gemm"):
            assert BF16 in target.space.by_key[node.key].choices


def test_a_plans_form_names_the_operator_set(tmp_path: Path) -> None:
    again = opened(tmp_path, conv_net(), FP32, BF16, form="typed-half-22")
    assert again.graph.opsets[""] == 22
    older = opened(tmp_path, conv_net(), FP32, BF16, form="typed-half")
    assert older.graph.opsets[""] == 19


def test_no_model_is_raised_further_than_its_operators_need(tmp_path: Path) -> None:
    assert opened(tmp_path, transformer(), FP32, BF16).form.name == "typed-half"
    assert opened(tmp_path, conv_net(), FP32, FP16, INT8).form.name == "typed-half"


def test_what_the_builder_refuses_in_bf16_raises_no_model(tmp_path: Path) -> None:
    b = GraphBuilder(19)
    b.output(b.op("HardSwish", b.op("MatMul", b.input([4, 8]), b.weight(8, 8))))
    assert opened(tmp_path, b.model(), FP32, BF16).form.name == "typed-half"


def test_a_model_that_cannot_be_raised_is_refused_with_the_precision_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = raise_opset

    def raised(proto: onnx.ModelProto, target: int, folder: str) -> onnx.ModelProto:
        if target > 21:
            raise ModelError(f"the model's operator set cannot be raised to {target}; export it")
        return plain(proto, target, folder)

    monkeypatch.setattr(preparing, "raise_opset", raised)
    b = GraphBuilder(13)
    b.output(conv(b, b.input([1, 4, 8, 8]), 4, 4))
    with pytest.raises(ModelError, match=r"raised to 22.*, or leave bf16 out of --precisions$"):
        opened(tmp_path, b.model(), FP32, FP16, BF16)
    assert opened(tmp_path, b.model(), FP32, FP16).form.name == "typed-half"
