"""precsearch finds the fastest measured mixed-precision engine of an ONNX model within a tolerance.

>>> import precsearch
>>> result = precsearch.optimize("model.onnx", "data.npz", tol=1e-2)  # doctest: +SKIP
>>> result.save("fast.onnx")  # doctest: +SKIP

Importing this loads next to nothing: a name's module is imported when the name is first used, since
every worker process imports this package and needs little of it.
"""

from __future__ import annotations

from precsearch import _start  # before any other import, see there  # noqa: F401

# isort: split
from typing import TYPE_CHECKING

from precsearch._lazy import lazy_names
from precsearch._version import __version__

if TYPE_CHECKING:
    from precsearch.api import (
        BuildReport,
        Diagnosis,
        Inspection,
        OptimizeConfig,
        OptimizeResult,
        Result,
        ShapeSet,
        VerifyReport,
        build,
        diagnose,
        export,
        inspect,
        load_plan,
        optimize,
        optimize_each,
        optimize_events,
        save_report,
        verify,
    )
    from precsearch.core.errors import (
        DataError,
        EngineError,
        InputError,
        ModelError,
        OptionError,
        OutputError,
        PlanError,
        PrecsearchError,
        ReplayError,
        ResourceError,
        UnmetError,
        WorkerError,
    )
    from precsearch.core.precision import Precision
    from precsearch.core.problem import Bound, Budget, Goal, Problem
    from precsearch.core.space import Assignment, GroupTrait, LayerGroup, SearchSpace
    from precsearch.core.strategy import (
        ENDINGS,
        Ahead,
        Ending,
        Proposals,
        ReasonedProposals,
        Strategy,
    )
    from precsearch.core.trial import Failed, Fidelity, Measured, Measurement, Proposal, Trial
    from precsearch.plan.plan import Plan, read_plan

__all__ = [
    "ENDINGS",
    "Ahead",
    "Assignment",
    "Bound",
    "Budget",
    "BuildReport",
    "DataError",
    "Diagnosis",
    "Ending",
    "EngineError",
    "Failed",
    "Fidelity",
    "Goal",
    "GroupTrait",
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
    "ResourceError",
    "Result",
    "SearchSpace",
    "ShapeSet",
    "Strategy",
    "Trial",
    "UnmetError",
    "VerifyReport",
    "WorkerError",
    "__version__",
    "build",
    "diagnose",
    "export",
    "inspect",
    "load_plan",
    "optimize",
    "optimize_each",
    "optimize_events",
    "read_plan",
    "save_report",
    "verify",
]

_NAMES = {
    "precsearch.api": (
        "BuildReport Diagnosis Inspection OptimizeConfig OptimizeResult Result ShapeSet "
        "VerifyReport build diagnose export inspect load_plan optimize optimize_each "
        "optimize_events save_report verify"
    ),
    "precsearch.core.errors": (
        "DataError EngineError InputError ModelError OptionError OutputError PlanError "
        "PrecsearchError ReplayError ResourceError UnmetError WorkerError"
    ),
    "precsearch.core.precision": "Precision",
    "precsearch.core.problem": "Bound Budget Goal Problem",
    "precsearch.core.space": "Assignment GroupTrait LayerGroup SearchSpace",
    "precsearch.core.strategy": "ENDINGS Ahead Ending Proposals ReasonedProposals Strategy",
    "precsearch.core.trial": "Failed Fidelity Measured Measurement Proposal Trial",
    "precsearch.plan.plan": "Plan read_plan",
}
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
