"""Optimization profiles: the input shapes that an engine is built for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx

from precsearch.core.errors import BuildError

__all__ = ["Shapes", "add_profiles", "drop_shared_names"]

Shapes = Mapping[str, tuple[int, ...]]
"""Input name → shape."""


def add_profiles(
    builder: Any,  # noqa: ANN401 - TensorRT's bindings have no types
    network: Any,  # noqa: ANN401
    config: Any,  # noqa: ANN401
    shapes: Sequence[Shapes],
    errors: Callable[[], str],
) -> None:
    """Add a profile for each of two sets of shapes, one across more; none if nothing is open.

    Args:
        builder: TensorRT's.
        network: The parsed model.
        config: The builder's.
        shapes: Sets of input shapes that the engine must take.
        errors: What TensorRT said last.

    Raises:
        BuildError: There are no shapes for open inputs, or TensorRT refuses them.
    """
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if all(d >= 0 for t in inputs for d in t.shape):
        return
    if not shapes:
        raise BuildError("the model has inputs of open shape, and no shapes to build for")
    sets = [[s] for s in shapes] if len(shapes) <= 2 else [list(shapes)]
    for members in sets:
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            if tensor.is_shape_tensor:
                raise BuildError(
                    f"the input {tensor.name!r} holds a shape, which is not supported yet"
                )
            taken = [tuple(m[tensor.name]) for m in members]
            least = tuple(min(d) for d in zip(*taken, strict=True))
            most = tuple(max(d) for d in zip(*taken, strict=True))
            profile.set_shape(tensor.name, least, taken[0], most)
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(f"TensorRT refuses the shapes {members}: {errors()}")


def drop_shared_names(model: onnx.ModelProto, shapes: Sequence[Shapes]) -> bool:
    """Take names off open dimensions of the inputs that share one and do not agree in size.

    Exporters name several dimensions alike that are not ("?" for height and width). ONNX Runtime
    takes such a model; TensorRT ties dimensions by their names, and does not build.

    Args:
        model: Changed in place.
        shapes: Sets of input shapes that the engine must take.

    Returns:
        Whether there were any.
    """
    found = False
    for one in shapes:
        sizes: dict[str, set[int]] = {}
        named = [
            (dim, size)
            for value in model.graph.input
            for dim, size in zip(
                value.type.tensor_type.shape.dim, one.get(value.name, ()), strict=False
            )
            if dim.dim_param
        ]
        for dim, size in named:
            sizes.setdefault(dim.dim_param, set()).add(size)
        for dim, _ in named:
            if len(sizes[dim.dim_param]) > 1:
                dim.Clear()
                found = True
    return found
