"""Plans for TensorRT, made without it: the search is left out, the recipe is a real one."""

from __future__ import annotations

from pathlib import Path

import onnx

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment
from precsearch.graph.reading.read import read_model
from precsearch.lowering.lower import Lowering
from precsearch.lowering.qdq.reach import quantizable
from precsearch.lowering.qdq.scales import RangeScales, TensorRange
from precsearch.optimization.write_plan import make_recipe
from precsearch.plan.plan import Plan
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.inputs import open_inputs
from precsearch.setup.target import open_target
from tests.cli.runs import plan as shown_plan


def write_plan(
    folder: Path,
    model: onnx.ModelProto,
    form: str,
    asked: dict[str, str],
    build: dict[str, str] | None = None,
    batch: int = 2,
    maker: str = "",
) -> Path:
    """Write ``small.onnx`` and ``small.plan.json``.

    Args:
        folder: Where.
        model: The model.
        form: ``weak`` or ``typed-half`` for TensorRT, ``typed`` for ONNX Runtime.
        asked: Tensor → precision of the node that writes it; FP32 elsewhere.
        build: Build options.
        batch: Samples per inference, if the model leaves it open.
        maker: ``tensorrt-rtx`` for a plan of TensorRT-RTX.
    """
    path = folder / "small.onnx"
    onnx.save(model, path)
    source = read_model(path)
    known = {"typed": ("onnxruntime", "ort-u8s8-8"), "rtx": ("tensorrt-rtx", "rtx-s8s8-attention")}
    made_by = "rtx" if maker == "tensorrt-rtx" else form
    backend, scheme = known.get(made_by, ("tensorrt", "trt-s8s8"))
    target = open_target(source, backend, None, "node", 1, scheme, form=form, build=build)
    inputs = open_inputs(OptimizeConfig(path, batch=batch), target.graph)
    tensors = frozenset().union(*quantizable(target.graph, target.scheme, target.space).values())
    scales = RangeScales({t: TensorRange(-2.0, 2.0) for t in tensors}, target.scheme)
    lowering = Lowering(target.graph, target.space, target.scheme, scales, target.form)
    assignment = Assignment.of({key: Precision(p) for key, p in asked.items()})
    recipe = make_recipe(target, target.space, assignment, lowering.lower(assignment), inputs)
    plan = folder / "small.plan.json"
    shown = shown_plan()
    text = Plan(recipe, shown.criteria, shown.evidence).to_json()
    plan.write_text(text, encoding="utf-8")
    return plan
