"""What Python calls: `optimize`, `inspect`, `diagnose`, `build`, `verify`, `save_report`.

A name's module is imported when the name is first used: no command needs all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from precsearch._lazy import lazy_names

if TYPE_CHECKING:
    from precsearch.api.diagnosing import diagnose
    from precsearch.api.inspecting import inspect
    from precsearch.api.optimizing import optimize
    from precsearch.api.reporting import save_report
    from precsearch.api.result import Result
    from precsearch.api.several import optimize_each
    from precsearch.api.tracking import tracked
    from precsearch.diagnosis.result import Diagnosis
    from precsearch.exporters.export import ExportReport, export
    from precsearch.optimization.edit import EditReport, edit
    from precsearch.optimization.front.plan_at import PlanAtReport, plan_at
    from precsearch.optimization.preview.counted import Counted
    from precsearch.optimization.preview.estimate import DryRun, dry_run
    from precsearch.optimization.preview.inspection import Inspection
    from precsearch.optimization.start import optimize_events
    from precsearch.plan.plan import read_plan as load_plan
    from precsearch.replay.materialize import BuildReport, build
    from precsearch.replay.verify import VerifyReport, verify
    from precsearch.setup.config import OptimizeConfig, OptimizeResult
    from precsearch.setup.shapes import ShapeSet

__all__ = [
    "BuildReport",
    "Counted",
    "Diagnosis",
    "DryRun",
    "EditReport",
    "ExportReport",
    "Inspection",
    "OptimizeConfig",
    "OptimizeResult",
    "PlanAtReport",
    "Result",
    "ShapeSet",
    "VerifyReport",
    "build",
    "diagnose",
    "dry_run",
    "edit",
    "export",
    "inspect",
    "load_plan",
    "optimize",
    "optimize_each",
    "optimize_events",
    "plan_at",
    "save_report",
    "tracked",
    "verify",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "precsearch.api.diagnosing": "diagnose",
        "precsearch.api.inspecting": "inspect",
        "precsearch.api.optimizing": "optimize",
        "precsearch.api.reporting": "save_report",
        "precsearch.api.result": "Result",
        "precsearch.api.several": "optimize_each",
        "precsearch.api.tracking": "tracked",
        "precsearch.diagnosis.result": "Diagnosis",
        "precsearch.exporters.export": "ExportReport export",
        "precsearch.optimization.edit": "EditReport edit",
        "precsearch.optimization.front.plan_at": "PlanAtReport plan_at",
        "precsearch.optimization.preview.counted": "Counted",
        "precsearch.optimization.preview.estimate": "DryRun dry_run",
        "precsearch.optimization.preview.inspection": "Inspection",
        "precsearch.optimization.start": "optimize_events",
        "precsearch.plan.plan": "load_plan=read_plan",
        "precsearch.replay.materialize": "BuildReport build",
        "precsearch.replay.verify": "VerifyReport verify",
        "precsearch.setup.config": "OptimizeConfig OptimizeResult",
        "precsearch.setup.shapes": "ShapeSet",
    },
)
