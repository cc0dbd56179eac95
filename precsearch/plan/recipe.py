"""The recipe of a plan: everything that decides the bytes of the model, and how to build it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from precsearch.codec import unstructure
from precsearch.core.precision import Precision
from precsearch.core.space import Assignment

__all__ = ["GroupRecipe", "Recipe", "RewriteRecipe", "ScaleRecipe", "ShiftRecipe", "recipe_fields"]


@dataclass(frozen=True, slots=True)
class GroupRecipe:
    """One group's decision.

    Attributes:
        key: The group.
        kind: What it is, for people.
        precision: As asked.
        digest: Of its nodes and constants in the materialized model; tells where a replay differs.
    """

    key: str
    kind: str
    precision: Precision
    digest: str


@dataclass(frozen=True, slots=True)
class ScaleRecipe:
    """How one activation is quantized. ``scale`` is an FP32 value as `float.hex` writes it."""

    tensor: str
    scale: str
    zero_point: int


@dataclass(frozen=True, slots=True)
class RewriteRecipe:
    """A rewrite that is made to the model before anything else, see `precsearch.rewrites`.

    Attributes:
        name: Of the rewrite.
        params: What it needs beside the graph: a whole number by the node that it is for, or a
            vector by its tensor, as `precsearch.codec.vectors` writes it.
    """

    name: str
    params: Mapping[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShiftRecipe:
    """What the bias of an INT8 node is shifted by.

    Attributes:
        node: Its key.
        shift: FP16 numbers by output channel, as `precsearch.codec.vectors` writes them.
    """

    node: str
    shift: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of the materialized model, and how to build it.

    Attributes:
        model_sha256: Of the original model with its external weights.
        materialised_sha256: Of the lowered model.
        lowering: Form of the graph and version of the lowering.
        scheme: Name of the backend's quantization scheme.
        granularity: How the groups were made.
        space_sha256: Digest of the search space.
        backend: Name of the backend.
        options: Build knobs by name.
        shapes: Sets of input shapes, input name → shape, that an engine is built for; the one that
            was measured first.
        groups: In graph order.
        scales: Sorted by tensor.
        rewrites: In the order in which they are made.
        shifts: Sorted by node.
        dynamic: Keys of the nodes in INT8 that round by the range of each inference, sorted.
        formats: Precision → the number format that its tensors are stored in, such as ``float16``,
            of those that a group has; empty in a plan that was upgraded from schema 1.
    """

    model_sha256: str
    materialised_sha256: str
    lowering: str
    scheme: str
    granularity: str
    space_sha256: str
    backend: str
    options: Mapping[str, int | str] = field(default_factory=dict)
    shapes: tuple[Mapping[str, tuple[int, ...]], ...] = ()
    groups: tuple[GroupRecipe, ...] = ()
    scales: tuple[ScaleRecipe, ...] = ()
    rewrites: tuple[RewriteRecipe, ...] = ()
    shifts: tuple[ShiftRecipe, ...] = ()
    dynamic: tuple[str, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict)

    @property
    def assignment(self) -> Assignment:
        """The decisions."""
        return Assignment.of({g.key: g.precision for g in self.groups})

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, as hex."""
        text = json.dumps(recipe_fields(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def recipe_fields(recipe: Recipe) -> dict[str, Any]:
    """As data; fields that came later are left out where they are empty."""
    data: dict[str, Any] = unstructure(recipe)
    for name in ("rewrites", "shifts", "dynamic", "formats"):
        if not data[name]:
            del data[name]
    return data
