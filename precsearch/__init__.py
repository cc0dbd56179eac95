"""precsearch finds the fastest measured mixed-precision engine of an ONNX model within a tolerance.

>>> import precsearch
>>> plan = precsearch.optimize("model.onnx", data="data.npz", tol=1e-2)  # doctest: +SKIP
>>> precsearch.build("model.plan.json", "model.onnx", "fast.onnx")  # doctest: +SKIP

Importing this loads no inference engine; workers do.
"""

from precsearch._version import __version__
from precsearch.api import (
    BuildReport,
    Inspection,
    OptimizeConfig,
    OptimizeResult,
    VerifyReport,
    build,
    inspect,
    optimize,
    optimize_events,
    verify,
)
from precsearch.errors import (
    DataError,
    InputError,
    ModelError,
    OptionError,
    OutputError,
    PlanError,
    PrecsearchError,
    ReplayError,
)
from precsearch.goal import Bound, Budget, Goal, Problem
from precsearch.plan import Plan, read_plan
from precsearch.space import Assignment, LayerGroup, Precision, SearchSpace
from precsearch.strategy import Proposals, Strategy
from precsearch.trial import Failed, Fidelity, Measured, Measurement, Proposal, Trial

__all__ = [
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
    "ReplayError",
    "SearchSpace",
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
