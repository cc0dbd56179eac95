"""Values of a plan, checked: scales, threads, build options and the graph form."""

from __future__ import annotations

import math

import numpy as np

from precsearch.core.errors import PlanError, ReplayError
from precsearch.core.precision import Precision
from precsearch.core.quantization import QuantScheme, TensorFormat
from precsearch.lowering.qdq.scales import QuantParams
from precsearch.lowering.tensor_names import SEPARATOR
from precsearch.lowering.version import lowering_version
from precsearch.plan.plan import Plan, Recipe
from precsearch.replay.artifact import EDITED

__all__ = ["build_options", "form_of", "scale_params", "threads_of"]

_MOST_THREADS = 1 << 12
_LEAST_SCALE, _MOST_SCALE = 2.0**-149, float(np.finfo(np.float32).max)


def _zero_points(kind: TensorFormat) -> tuple[int, int]:
    """The least and the greatest zero point that the type of an activation holds."""
    if not kind.format.is_integer:
        return 0, 0
    return int(kind.format.lowest), int(kind.format.largest)


def scale_params(recipe: Recipe, scheme: QuantScheme) -> dict[str, QuantParams]:
    """Scale and zero point by the name that the plan has for a tensor.

    Raises:
        PlanError: The plan was edited.
    """
    kinds = {p: scheme.activation(p) for p in scheme.precisions}
    params: dict[str, QuantParams] = {}
    for row in recipe.scales:
        try:
            scale = float.fromhex(row.scale)
        except (ValueError, OverflowError):
            scale = math.nan
        if not _LEAST_SCALE <= scale <= _MOST_SCALE:
            raise PlanError(
                f"the plan's scale of tensor {row.tensor!r} is {row.scale!r}, not a positive "
                f"hexadecimal float; {EDITED}"
            )
        suffixes = {f"{SEPARATOR}{p}": kind for p, kind in kinds.items()}
        kind = next(
            (k for s, k in suffixes.items() if row.tensor.endswith(s)), kinds.get(Precision.INT8)
        )
        least, most = (0, 0) if kind is None else _zero_points(kind)
        if not least <= row.zero_point <= most:
            name = "the scheme" if kind is None else kind.format.name
            raise PlanError(
                f"the plan's zero point of tensor {row.tensor!r} is {row.zero_point}, not of "
                f"{name}; {EDITED}"
            )
        if row.tensor in params:
            raise PlanError(f"the plan has two scales for tensor {row.tensor!r}; {EDITED}")
        params[row.tensor] = QuantParams(scale, row.zero_point)
    return params


def threads_of(recipe: Recipe) -> int:
    """CPU threads of one inference.

    Raises:
        PlanError: The plan was edited.
    """
    count = recipe.options.get("threads", 0)
    if not isinstance(count, int) or not 0 <= count <= _MOST_THREADS:
        raise PlanError(f"the plan's number of threads is {count!r}; {EDITED}")
    return count


def build_options(recipe: Recipe) -> dict[str, str]:
    """The options that the backend alone knows, and checks."""
    return {name: str(value) for name, value in recipe.options.items() if name != "threads"}


def form_of(plan: Plan) -> str:
    """The graph form, if this version writes it as the plan's did.

    Raises:
        ReplayError: It does not.
    """
    name, _, version = plan.recipe.lowering.rpartition("-")
    current = lowering_version(name)
    if version != str(current):
        raise ReplayError(
            f"the plan was lowered by {plan.recipe.lowering!r}, this version has lowering "
            f"{name}-{current}; install precsearch {plan.made_by} or make a new plan"
        )
    return name
