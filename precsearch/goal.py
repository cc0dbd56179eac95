"""Deprecated, for one release: use `precsearch.core.problem`."""

from precsearch.core.problem import Bound, Budget, Goal, Prior, Problem, pareto

__all__ = ["Bound", "Budget", "Goal", "Prior", "Problem", "pareto"]
