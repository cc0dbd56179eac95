"""Searches of a model that INT8 gets wrong unless it is corrected."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from precsearch.optimization.run import optimize_events
from precsearch.plan.plan import Plan
from precsearch.setup.config import OptimizeConfig
from tests.rewrites.scalable_models import CHANNELS, Chain, conv

__all__ = ["searched", "unequal"]


def unequal() -> onnx.ModelProto:
    """Convs with a channel that is 300 times as large as the others, in INT8 far off."""
    chain = Chain(1)
    for _ in range(3):
        conv(chain)
        chain.node("Relu", [chain.tensor])
    conv(chain)
    model = chain.model(["n", CHANNELS, 8, 8])
    large = np.ones(CHANNELS, np.float32)
    large[2] = 300
    arrays = [onnx.numpy_helper.to_array(w) for w in model.graph.initializer]
    for index in (0, 2, 4):
        arrays[index] = arrays[index] * large[:, None, None, None]
        arrays[index + 1] = arrays[index + 1] * large
        arrays[index + 2] = arrays[index + 2] / large[:, None, None]
    for proto, values in zip(model.graph.initializer, arrays, strict=True):
        proto.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), proto.name))
    return model


def searched(**changes: Any) -> Plan:
    config = OptimizeConfig(
        Path("model.onnx"),
        Path("data.npz"),
        tol=0.06,
        backend="clocked",
        strategy="uniform",
        threads=1,
        output=Path("model.plan.json"),
        force=True,
    )
    steps = optimize_events(dataclasses.replace(config, **changes))
    try:
        while True:
            next(steps)
    except StopIteration as end:
        plan: Plan = end.value.plan
        return plan
