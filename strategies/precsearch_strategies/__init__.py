"""The search strategies: each proposes assignments and learns from trials, and does nothing else.

Importing this package loads no Optuna; `tpe` imports it when a search needs it.
"""

from precsearch_strategies.auto import Auto
from precsearch_strategies.bisection import Bisection
from precsearch_strategies.tpe import Tpe
from precsearch_strategies.uniform import Uniform

__all__ = ["Auto", "Bisection", "Tpe", "Uniform"]
