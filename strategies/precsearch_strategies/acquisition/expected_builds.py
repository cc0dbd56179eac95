"""How many engines a search with `auto` takes, before any is built."""

from __future__ import annotations

import math

from precsearch.core.problem import Problem
from precsearch_strategies.uniform import leading_uniforms

__all__ = ["expected_builds"]


def expected_builds(problem: Problem) -> tuple[int, int, int]:
    """The least, the likely and the most engines, FP32's own included, those that fail left out.

    The least is the gate and the uniform engines, which is where a search ends if one of them
    cannot be improved on. The likely number was fitted to searches of recorded landscapes of 8 to
    10 free groups (8 to 18 engines) and of simulated spaces in which 3 % of 300 and of 1,000 groups
    break the bound (26 and 66): it grows with the logarithm of the number of groups, and where
    there are so many with the number of those that break the bound. The most is `Auto.builds` or
    the budget.
    """
    free = len(problem.space.free)
    least = 1 + len(leading_uniforms(problem)) if free else 1
    likely = least + round(3 * math.log2(1 + free) + 0.05 * max(free - 300, 0)) if free else 1
    most = problem.budget.max_builds or 60
    return min(least, most), min(max(likely, least), most), most if free else 1
