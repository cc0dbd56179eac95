"""Building typed models with TensorRT-RTX, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import onnx

from precsearch.backends.tensorrt.rtx.backend import TensorRtRtxBackend
from precsearch.core.backend import BackendOptions
from precsearch.core.errors import BuildError, OptionError
from precsearch.core.precision import Precision
from precsearch.graph.operators import PRODUCTS
from precsearch.lowering.lower import Lowered

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Outcome:
    """What became of one typed model.

    Attributes:
        stage: ``built``, ``refused`` (by precsearch, in words), ``parse`` or ``build``.
        products: Products that the engine's layers name.
        silent: Those of them whose layer does not tell its type.
        other: Products that run in another precision than asked, ``operator: asked, ran``.
        seconds: Of the processor, all threads together, for parsing and building.
        message: Why it was not built.
    """

    stage: str
    products: int = 0
    silent: int = 0
    other: tuple[str, ...] = ()
    seconds: float = 0.0
    message: str = ""


@cache
def _backend(
    target: str, shapes: tuple[tuple[tuple[str, tuple[int, ...]], ...], ...]
) -> TensorRtRtxBackend:
    sets = tuple(map(dict, shapes))
    return TensorRtRtxBackend(BackendOptions(shapes=sets, build={"target": target}))


def outcome(lowered: Lowered, target: str, shapes: Sequence[Shapes], folder: str = "") -> Outcome:
    """Build a lowered model for a target and read what its products run in."""
    frozen = tuple(tuple(sorted(one.items())) for one in shapes)
    backend = _backend(target, frozen)
    backend.options = BackendOptions(0, folder, backend.options.shapes, backend.options.build)
    started = time.process_time()
    try:
        engine = backend.build(lowered.model)
    except OptionError as error:
        return Outcome("refused", message=str(error))
    except BuildError as error:
        text = str(error)
        stage = "parse" if "ONNX parser refuses" in text else "build"
        return Outcome(stage, seconds=time.process_time() - started, message=text)
    seconds = time.process_time() - started
    ran = backend.precisions_of(engine, lowered.products)
    nodes = onnx.load_model_from_string(lowered.model).graph.node
    kinds = {n.name: n.op_type for n in nodes if n.op_type in PRODUCTS}
    other = [
        f"{kinds[name]}: asked {wanted}, runs {found}"
        for name, found in sorted(ran.items())
        if found is not None and found is not (wanted := lowered.asked.get(name, Precision.FP32))
    ]
    silent = sum(found is None for found in ran.values())
    return Outcome("built", len(ran), silent, tuple(other), seconds)


__all__ = ["Outcome", "outcome"]
