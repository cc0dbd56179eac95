"""Cures by name: what a plan needs in order to make the cured model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx

from precsearch.core.errors import OptionError
from precsearch.graph.prepare import prepare
from precsearch.graph.read import SourceModel
from precsearch.rewrites.registry import RULES
from precsearch.rewrites.rewrite import Parameters, rewritten

__all__ = ["CURES", "Recorded", "cured"]

Recorded = tuple[str, Parameters]
"""Name of a cure and its parameters."""

CURES = tuple(RULES)
"""The names that there are."""


def cured(source: SourceModel, cures: Sequence[Recorded]) -> SourceModel:
    """The model with cures applied one after the other; the same bytes for the same model.

    Args:
        source: The model as read.
        cures: In order. One that fits nowhere changes nothing.

    Returns:
        The model with another graph; path, digest and external weights are the original's.

    Raises:
        OptionError: There is no cure of a name.
        ModelError: The graph cannot be raised to the operator set that a cure needs.
    """
    for name, params in cures:
        rule = RULES.get(name)
        if rule is None:
            raise OptionError(f"there is no cure {name!r}; use one of {', '.join(CURES)}")
        graph = prepare(source, rule.min_opset)
        cure = rule.apply(graph, params)
        if cure is not None:
            model = onnx.ModelProto.FromString(rewritten(graph, cure.rewrite))
            source = replace(source, proto=model)
    return source
