"""What Python calls: `optimize`, `inspect`, `diagnose`, `build`, `verify`, `save_report`."""

from __future__ import annotations

from precsearch.api.looking import diagnose, inspect, save_report
from precsearch.api.optimizing import optimize
from precsearch.api.result import Result
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
    "optimize_events",
    "plan_at",
    "save_report",
    "tracked",
    "verify",
]
