"""precsearch finds the fastest measured mixed-precision engine of an ONNX model within a tolerance.

>>> import precsearch
>>> plan = precsearch.optimize("model.onnx", data="data.npz", tol=1e-2)  # doctest: +SKIP
>>> precsearch.build("model.plan.json", "model.onnx", "fast.onnx")  # doctest: +SKIP

Importing this loads next to nothing: a name's module is imported when the name is first used, since
every worker process imports this package and needs little of it.
"""

from __future__ import annotations

from precsearch import _start  # before any other import, see there  # noqa: F401

# isort: split
import importlib
from typing import TYPE_CHECKING

from precsearch._version import __version__

if TYPE_CHECKING:
    from precsearch.api import (
        BuildReport,
        Inspection,
        OptimizeConfig,
        OptimizeResult,
        ShapeSet,
        VerifyReport,
        build,
        inspect,
        optimize,
        optimize_events,
        verify,
    )
    from precsearch.core.errors import (
        DataError,
        InputError,
        ModelError,
        OptionError,
        OutputError,
        PlanError,
        PrecsearchError,
        ReplayError,
    )
    from precsearch.core.precision import Precision
    from precsearch.core.problem import Bound, Budget, Goal, Problem
    from precsearch.core.space import Assignment, LayerGroup, SearchSpace
    from precsearch.core.strategy import ENDINGS, Proposals, ReasonedProposals, Strategy
    from precsearch.core.trial import Failed, Fidelity, Measured, Measurement, Proposal, Trial
    from precsearch.plan.plan import Plan, read_plan

__all__ = [
    "ENDINGS",
    "Assignment",
    "Bound",
    "Budget",
    "BuildReport",
    "DataError",
    "Failed",
    "Fidelity",
    "Goal",
    "InputError",
    "Inspection",
    "LayerGroup",
    "Measured",
    "Measurement",
    "ModelError",
    "OptimizeConfig",
    "OptimizeResult",
    "OptionError",
    "OutputError",
    "Plan",
    "PlanError",
    "Precision",
    "PrecsearchError",
    "Problem",
    "Proposal",
    "Proposals",
    "ReasonedProposals",
    "ReplayError",
    "SearchSpace",
    "ShapeSet",
    "Strategy",
    "Trial",
    "VerifyReport",
    "__version__",
    "build",
    "inspect",
    "optimize",
    "optimize_events",
    "read_plan",
    "verify",
]

_NAMES = {
    "precsearch.api": (
        "BuildReport Inspection OptimizeConfig OptimizeResult ShapeSet VerifyReport build "
        "inspect optimize optimize_events verify"
    ),
    "precsearch.core.errors": (
        "DataError InputError ModelError OptionError OutputError PlanError "
        "PrecsearchError ReplayError"
    ),
    "precsearch.core.precision": "Precision",
    "precsearch.core.problem": "Bound Budget Goal Problem",
    "precsearch.core.space": "Assignment LayerGroup SearchSpace",
    "precsearch.core.strategy": "ENDINGS Proposals ReasonedProposals Strategy",
    "precsearch.core.trial": "Failed Fidelity Measured Measurement Proposal Trial",
    "precsearch.plan.plan": "Plan read_plan",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import what a public name stands for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module 'precsearch' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
