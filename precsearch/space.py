"""Deprecated, for one release: use `precsearch.core.space` and `precsearch.core.precision`."""

from precsearch.core.precision import Precision
from precsearch.core.space import Assignment, LayerGroup, SearchSpace

__all__ = ["Assignment", "LayerGroup", "Precision", "SearchSpace"]
