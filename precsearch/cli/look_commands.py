"""The commands that look at models, runs and the machine. Parsing gives an action.

What an action needs is imported inside of its command, as in `precsearch.cli.commands`.
"""

from __future__ import annotations

from precsearch.cli.app import Action
from precsearch.cli.options import control
from precsearch.cli.options import diagnose as look_options
from precsearch.cli.options import optimize as options
from precsearch.cli.options import plan as plan_options
from precsearch.cli.options.parse import parse_precision, parse_precisions, parse_shapes

__all__ = ["diagnose", "doctor", "inspect", "report", "watch"]


def inspect(
    model: options.Model,
    *,
    backend: options.Backend = "auto",
    precisions: options.Precisions = None,
    granularity: options.Granularity = "group",
    data: look_options.InspectData = None,
    preprocess: options.Preprocess = "",
    run: look_options.InspectRun = None,
    profile: look_options.Profile = False,
    threads: options.Threads = 0,
    pin: control.PinOption = None,
    exclude: control.Exclude = None,
    only: control.Only = None,
    json: look_options.JsonObject = False,
) -> Action:
    """Show a model's layer groups and the precisions that each can have.

    With --data, it also shows what FP16 or BF16 would get wrong: values that are too large or too
    small, and differences that vanish. Nothing is built, except with --profile.

    Example:
        precsearch inspect resnet.onnx --data samples.npz
    """
    from precsearch.cli import actions

    chosen = None if precisions is None else parse_precisions(precisions)
    settled = control.parse_control(pin or (), exclude or (), only or ())
    return lambda: actions.inspect(
        model,
        backend=backend,
        precisions=chosen,
        granularity=granularity,
        data=data,
        preprocess=preprocess,
        run=run,
        profile=profile,
        threads=threads,
        control=settled,
        json=json,
    )


def diagnose(
    model: options.Model,
    *,
    data: look_options.DiagnoseData = None,
    preprocess: options.Preprocess = "",
    precision: look_options.DiagnosePrecision = "fp16",
    plan: look_options.DiagnosePlan = None,
    order: look_options.Order = "worst",
    memory: look_options.Memory = 256,
    suggest: look_options.Suggest = False,
    rewritten: look_options.Rewritten = None,
    cured: look_options.OldRewritten = None,
    reproducer: look_options.Reproducer = None,
    batch: options.Batch = 1,
    input_shape: options.InputShape = None,
    backend: options.Backend = "auto",
    granularity: options.Granularity = "group",
    table: look_options.Table = None,
    force: options.Force = False,
    json: look_options.JsonObject = False,
) -> Action:
    """Compare every tensor in a precision with FP32, and show where it goes wrong.

    It runs on a CPU, where values in FP16 are rounded as on a GPU, and marks where the difference
    begins.

    Example:
        precsearch diagnose vit.onnx --data samples.npz --suggest
    """
    from precsearch.cli import diagnosing
    from precsearch.diagnosis.compare import DiagnoseConfig

    config = DiagnoseConfig(
        model=model,
        data=data,
        preprocess=preprocess,
        precision=parse_precision(precision),
        plan=plan,
        backend=backend,
        granularity=granularity,
        batch=batch,
        input_shapes=parse_shapes(input_shape or ()),
        memory_mb=memory,
        suggest=suggest,
    )
    return lambda: diagnosing.run_diagnose(
        config,
        order=order,
        json=json,
        table=table,
        rewritten=rewritten or cured,
        reproducer=reproducer,
        force=force,
    )


def report(
    run: plan_options.Reported,
    *,
    output: plan_options.ReportOutput = None,
    force: options.Force = False,
) -> Action:
    """Write a page about a run, or compare runs or plans.

    The page is one file that needs no network. Drawing needs `pip install 'precsearch[report]'`.

    Example:
        precsearch report resnet.precsearch -o report.html
    """
    from precsearch.cli import reporting

    return lambda: reporting.report(run, output, force=force)


def watch(run: plan_options.Watched) -> Action:
    """Show a running or finished search from its journal.

    Ctrl-C ends the view, not the search.

    Example:
        precsearch watch resnet.precsearch
    """
    from precsearch.cli import reporting

    return lambda: reporting.watch(run)


def doctor(*, json: look_options.JsonObject = False) -> Action:
    """Show versions, backends, CPU and GPU, and what is missing.

    Add its output to a bug report.

    Example:
        precsearch doctor
    """
    from precsearch.cli import actions

    return lambda: actions.doctor(json=json)
