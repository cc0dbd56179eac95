"""The metrics by name: those of precsearch, and those of installed distributions.

A metric costs a file and a row. A row names a `Metric`, or a function that makes one from its full
name and its parameter, the text after ``@``: ``recall@10``. A distribution adds its own as an entry
point ``mine = "my_pkg:MINE"`` in ``precsearch.metrics``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import cast

from precsearch.core.errors import OptionError
from precsearch.metrics.protocol import Metric

__all__ = ["find", "names", "shipped"]

_GROUP = "precsearch.metrics"
_SHIPPED = {
    "rel-l2": "precsearch.metrics.elementwise:REL_L2",
    "rel-l2-max": "precsearch.metrics.elementwise:REL_L2_MAX",
    "max-abs": "precsearch.metrics.elementwise:MAX_ABS",
    "cosine": "precsearch.metrics.elementwise:COSINE",
    "sqnr": "precsearch.metrics.elementwise:SQNR",
    "psnr": "precsearch.metrics.elementwise:PSNR",
    "top1": "precsearch.metrics.classify:TOP1",
    "top1-agree": "precsearch.metrics.classify:TOP1_AGREE",
    "decisions": "precsearch.metrics.tasks.decisions:decisions",
    "box-agreement": "precsearch.metrics.tasks.boxes:box_agreement",
    "mask-iou": "precsearch.metrics.tasks.masks:mask_iou",
    "edit-distance": "precsearch.metrics.tasks.sequences:edit_distance",
    "recall": "precsearch.metrics.tasks.neighbours:recall",
}
"""Beside the entry points of pyproject.toml, so that a tree that is not installed runs, too."""

_Make = Callable[[str, str], Metric]


def names() -> tuple[str, ...]:
    """What can be asked for by name: ours, the default first, then those of others."""
    others = {e.name for e in entry_points(group=_GROUP)} - _SHIPPED.keys()
    return (*_SHIPPED, *sorted(others))


def shipped() -> dict[str, Metric]:
    """The metrics of precsearch, without parameters."""
    return {name: cast(Metric, find(name)) for name in _SHIPPED}


@cache
def find(name: str) -> Metric | None:
    """The metric of this name, ``None`` if there is none.

    Raises:
        OptionError: The parameter is none of this metric's, or a plug-in cannot be loaded.
    """
    base, at, parameter = name.partition("@")
    place = _SHIPPED.get(base) or next(
        (e.value for e in entry_points(group=_GROUP) if e.name == base), None
    )
    if place is None:
        return None
    module, _, attribute = place.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"the metric {base!r} cannot be loaded: {error}") from error
    if isinstance(factory, Metric):
        if at:
            raise OptionError(f"the metric {base!r} takes no parameter; drop '@{parameter}'")
        return factory
    metric = cast(_Make, factory)(name, parameter)
    if not isinstance(metric, Metric):
        raise OptionError(f"the metric {base!r} has no score(outputs, reference, labels)")
    return metric
