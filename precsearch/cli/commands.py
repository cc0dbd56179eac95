"""The commands. Parsing gives an action; `precsearch.cli.main` performs it.

What an action needs is imported inside of its command, so that help, completion and a mistaken
command line load neither NumPy nor ONNX (docs/adr/0030).
"""

from __future__ import annotations

from precsearch.cli.app import Action, app
from precsearch.cli.look_commands import diagnose, doctor, inspect, report, watch
from precsearch.cli.options import control, goal
from precsearch.cli.options import devices as device_options
from precsearch.cli.options import optimize as options
from precsearch.cli.options import plan as plan_options
from precsearch.cli.options.parse import (
    parse_build_options,
    parse_duration,
    parse_precisions,
    parse_shape_sets,
    parse_shapes,
    parse_strategy_options,
)
from precsearch.core.objective import Limits, Objective

__all__ = ["Action", "app"]


@app.command()
def optimize(
    model: options.Model,
    *,
    tol: control.Tolerance = None,
    metric: options.Metric = None,
    objective: goal.ObjectiveOption = "latency",
    max_latency: goal.MaxLatency = None,
    max_size: goal.MaxSize = None,
    max_memory: goal.MaxMemory = None,
    data: options.Data = None,
    preprocess: options.Preprocess = "",
    holdout: options.Holdout = None,
    calibration: options.Calibration = None,
    calibration_method: options.CalibrationMethod = "minmax",
    batch: options.Batch = 1,
    input_shape: options.InputShape = None,
    shapes: options.Shapes = None,
    max_builds: options.MaxBuilds = None,
    time_budget: options.TimeBudget = None,
    strategy: options.Strategy = "auto",
    strategy_option: device_options.StrategyOption = None,
    warm_start: device_options.WarmStart = None,
    seed: options.Seed = 0,
    workers: device_options.Workers = 1,
    devices: device_options.Devices = "",
    ray: device_options.Ray = "",
    target: device_options.Target = "",
    backend: options.Backend = "auto",
    precisions: options.Precisions = None,
    granularity: options.Granularity = "group",
    threads: options.Threads = 0,
    build_option: options.BuildOption = None,
    rewrite: options.Rewrite = False,
    lift: options.Lift = False,
    cure: options.OldRewrite = False,
    no_corrections: options.NoCorrections = False,
    pin: control.PinOption = None,
    exclude: control.Exclude = None,
    only: control.Only = None,
    output: options.PlanOutput = None,
    artifact: options.Artifact = None,
    run_dir: options.RunDir = None,
    resume: options.Resume = False,
    force: options.Force = False,
    mlflow: goal.Mlflow = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> Action:
    """Find the fastest engine within a tolerance, and write a plan.

    Ctrl-C ends the search early; the best plan so far is still written.

    Example:
        precsearch optimize resnet.onnx --data samples.npz --tol 1e-2
    """
    from precsearch.api import OptimizeConfig
    from precsearch.cli import actions
    from precsearch.setup.bounds import per_bound
    from precsearch.setup.config import CORRECTIONS

    bounds = control.bounds(tol or [1e-2], metric or ["rel-l2"])
    config = OptimizeConfig(
        model=model,
        data=data,
        preprocess=preprocess,
        objective=Objective.named(objective),
        limits=Limits(max_latency, max_size, max_memory),
        warm_start=tuple(warm_start or ()),
        backend=backend,
        precisions=None if precisions is None else parse_precisions(precisions),
        strategy=strategy,
        strategy_options=parse_strategy_options(strategy_option or ()),
        max_builds=max_builds,
        time_budget=None if time_budget is None else parse_duration(time_budget),
        seed=seed,
        threads=threads,
        workers=workers,
        devices=devices,
        ray=ray,
        target=target,
        build_options=parse_build_options(build_option or ()),
        batch=batch,
        input_shapes=parse_shapes(input_shape or ()),
        shapes=parse_shape_sets(shapes or ()),
        calibration=calibration,
        calibration_method=calibration_method,
        holdout=holdout,
        granularity=granularity,
        output=output,
        artifact=artifact,
        run_dir=run_dir,
        resume=resume,
        force=force,
        rewrite=rewrite or cure,
        lift=lift,
        corrections=() if no_corrections else CORRECTIONS,
        control=control.parse_control(pin or (), exclude or (), only or ()),
    )
    configs = per_bound(config, bounds)
    if dry_run:
        return lambda: actions.dry_run(configs[0], json=json)
    return lambda: actions.optimize(configs, json=json, mlflow=mlflow)


@app.command()
def build(
    plan: plan_options.Plan,
    *,
    output: plan_options.ModelOutput,
    model: plan_options.Original = None,
    backend: plan_options.OtherBackend = None,
    target: plan_options.AheadTarget = None,
    expect: plan_options.Expect = None,
    force: options.Force = False,
) -> Action:
    """Write the optimized model of a plan, byte for byte.

    If the plan does not reproduce here, it says what differs and ends with exit code 4. With
    --target, it builds an engine for a GPU that is not in this machine.

    Example:
        precsearch build resnet.plan.json --model resnet.onnx -o fast.onnx
    """
    from precsearch.cli import actions

    given = {"expect": expect, "backend": backend, "target": target}
    return lambda: actions.build(plan, model, output, force=force, **given)


@app.command()
def plan(
    run: plan_options.PlannedRun,
    *,
    at: plan_options.At = None,
    output: plan_options.PlanAtOutput = None,
    model: plan_options.RunModel = None,
    force: options.Force = False,
) -> Action:
    """List the best engines of a finished search, or write the plan of one.

    Nothing is measured: the plan holds the numbers of the search, and says what is not confirmed.

    Example:
        precsearch plan resnet.precsearch --at 2e-2 -o wider.plan.json
    """
    from precsearch.cli import reporting

    return lambda: reporting.plan(run, at, output, model=model, force=force)


@app.command()
def upgrade(
    plan: plan_options.Plan,
    *,
    output: plan_options.UpgradedPlan,
    force: options.Force = False,
) -> Action:
    """Convert a plan of an older precsearch to the present format.

    The new plan builds the same bytes. The old file stays as it is.

    Example:
        precsearch upgrade old.plan.json -o resnet.plan.json
    """
    from precsearch.cli import reporting

    return lambda: reporting.upgraded(plan, output, force=force)


@app.command()
def export(
    plan: plan_options.Plan,
    *,
    to: plan_options.ExportTo,
    output: plan_options.ExportOutput,
    model: plan_options.Original = None,
    force: options.Force = False,
) -> Action:
    """Write a plan's model with a build script for another tool, or for a viewer.

    Ends with exit code 4 if the plan does not reproduce here.

    Example:
        precsearch export resnet.plan.json --to polygraphy -o exported
    """
    from precsearch.cli import actions

    return lambda: actions.export(plan, model, to, output, force=force)


@app.command()
def verify(
    plan: plan_options.Plan,
    *,
    model: plan_options.Original = None,
    data: plan_options.VerifyData = None,
    tol: plan_options.OtherTolerance = None,
    threads: plan_options.OtherThreads = None,
    artifact: plan_options.Measured = None,
    backend: plan_options.OtherBackend = None,
    metric: plan_options.PlanMetric = None,
    expect: plan_options.Expect = None,
    max_latency: goal.MaxLatencyHere = None,
    max_size: goal.MaxSizeHere = None,
    max_memory: goal.MaxMemoryHere = None,
) -> Action:
    """Rebuild a plan's model, measure it on this machine, and fail if it broke its bounds.

    Ends with exit code 4 if the model does not reproduce, is over the tolerance or a limit, or is
    slower than FP32: a gate for CI.

    Example:
        precsearch verify resnet.plan.json --data fresh.npz
    """
    from precsearch.cli import actions

    return lambda: actions.verify(
        plan,
        model,
        data,
        tol=tol,
        threads=threads,
        artifact=artifact,
        backend=backend,
        metric=metric,
        expect=expect,
        max_latency=max_latency,
        max_size=max_size,
        max_memory=max_memory,
    )


@app.command()
def edit(
    plan: plan_options.Plan,
    *,
    set_: plan_options.SetPrecision,
    output: plan_options.EditedPlan,
    model: plan_options.Original = None,
    force: options.Force = False,
) -> Action:
    """Change the precision of groups by hand, and write a new plan.

    Nothing is measured: run verify on the new plan.

    Example:
        precsearch edit resnet.plan.json --set 'op:Gemm=fp32' -o edited.plan.json
    """
    from precsearch.cli import actions

    changes = {pattern: value for pattern, _, value in (text.rpartition("=") for text in set_)}
    return lambda: actions.edit(plan, changes, output, model=model, force=force)


for _command in (inspect, diagnose, report, watch, doctor):
    app.command()(_command)
