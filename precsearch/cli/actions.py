"""What each command does once its options are known; each gives an exit code.

What one of them needs is imported in it: a command starts without the others' libraries.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status

from precsearch import api
from precsearch.cli.cells import ASCII
from precsearch.cli.exit_codes import Exit, stopped
from precsearch.cli.output.page import Page
from precsearch.cli.output.streams import glyphs_of, stderr, stdout
from precsearch.codec import dumps, unstructure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from precsearch.api import OptimizeConfig
    from precsearch.core.precision import Precision
    from precsearch.grouping.control import Control

__all__ = [
    "build",
    "doctor",
    "dry_run",
    "edit",
    "export",
    "inspect",
    "optimize",
    "verify",
]


def optimize(configs: Sequence[OptimizeConfig], *, json: bool, mlflow: bool = False) -> Exit:
    """Search for each bound, and print what was found; an interrupt ends it all."""
    code = Exit.DONE
    for config in configs:
        ending = _optimize(config, json=json, mlflow=mlflow)
        if ending not in (Exit.DONE, Exit.UNMET):
            return ending
        code = max(code, ending)
    return code


def _optimize(config: OptimizeConfig, *, json: bool, mlflow: bool) -> Exit:
    """Search, showing progress on stderr (or events on stdout), and print what was found."""
    from precsearch.cli.output.optimize import optimize_lines, result_fields
    from precsearch.cli.progress.live import JsonLines, consume, progress

    out = stdout()
    events = api.optimize_events(config)
    if mlflow:
        events = api.tracked(config, events)
    if json:
        lines = JsonLines(out)
        result = consume(events, lines)
    else:
        with progress(stderr()) as show:
            result = consume(events, show)
    code = stopped() if result.interrupted else Exit.DONE if result.met else Exit.UNMET
    if json:
        lines.result({**result_fields(result), "exit": int(code)})
    else:
        page = _page(out)
        page.write(out, optimize_lines(config, result, page))
    return code


def dry_run(config: OptimizeConfig, *, json: bool) -> Exit:
    """Print what a search would take."""
    from precsearch.cli.output.estimate import dry_run_lines

    out = stdout()
    with _waiting("looking at model and data"):
        estimate = api.dry_run(config)
    if json:
        out.file.write(f"{dumps(unstructure(estimate))}\n")
        return Exit.DONE
    page = _page(out)
    page.write(out, dry_run_lines(estimate, config, page))
    return Exit.DONE


def build(
    plan: Path,
    model: Path | None,
    output: Path,
    *,
    force: bool,
    expect: str | None,
    backend: str | None,
    target: str | None,
) -> Exit:
    """Replay a plan into a file."""
    from precsearch.cli.output.replay import build_lines

    out = stdout()
    page = _page(out)
    report = api.build(
        plan, model, output, force=force, expect=expect, backend=backend, target=target
    )
    page.write(out, build_lines(report, page))
    return Exit.DONE


def export(plan: Path, model: Path | None, to: str, output: Path, *, force: bool) -> Exit:
    """Write a plan's model and the script that builds it elsewhere."""
    from precsearch.cli.output.replay import export_lines

    out = stdout()
    page = _page(out)
    page.write(out, export_lines(api.export(plan, model, to, output, force=force), page))
    return Exit.DONE


def edit(
    plan: Path, changes: Mapping[str, str], output: Path, *, model: Path | None, force: bool
) -> Exit:
    """Write a plan with other precisions for some groups."""
    from precsearch.cli.output.replay import edit_lines

    out = stdout()
    page = _page(out)
    report = api.edit(plan, changes, output, model=model, force=force)
    page.write(out, edit_lines(report, page))
    return Exit.DONE


def verify(
    plan: Path,
    model: Path | None,
    data: Path | None,
    *,
    tol: float | None,
    threads: int | None,
    artifact: Path | None,
    backend: str | None,
    metric: str | None,
    expect: str | None,
    max_latency: float | None,
    max_size: int | None,
    max_memory: int | None,
) -> Exit:
    """Replay a plan and measure it on this machine."""
    from precsearch.cli.output.replay import verify_lines

    out = stdout()
    page = _page(out)
    with _waiting("rebuilding and measuring"):
        report = api.verify(
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
    page.write(out, verify_lines(report, page))
    return Exit.DONE if report.passed else Exit.REPLAY


def inspect(
    model: Path,
    *,
    backend: str,
    precisions: tuple[Precision, ...] | None,
    granularity: str,
    data: Path | None,
    run: Path | None,
    profile: bool,
    threads: int,
    control: Control,
    preprocess: str,
    json: bool,
) -> Exit:
    """Print a model's groups, with data its hazards, and the FP32 time where it is known."""
    from precsearch.cli.output.inspect import inspect_lines
    from precsearch.cli.output.inspection_values import inspect_fields

    out = stdout()
    what = "timing the FP32 engine" if profile else "running the samples"
    with _waiting(what) if data is not None and not json else nullcontext():
        inspection = api.inspect(
            model,
            backend=backend,
            precisions=precisions,
            granularity=granularity,
            data=data,
            run=run,
            profile=profile,
            threads=threads,
            control=control,
            preprocess=preprocess,
        )
    if json:
        out.file.write(f"{dumps(inspect_fields(inspection))}\n")
        return Exit.DONE
    page = _page(out)
    page.write(out, inspect_lines(inspection, page))
    return Exit.DONE


def doctor(*, json: bool) -> Exit:
    """Print what is installed and what it can do."""
    from precsearch.cli.output.doctor import diagnose, doctor_fields, doctor_lines

    out = stdout()
    diagnosis = diagnose()
    if json:
        out.file.write(f"{dumps(doctor_fields(diagnosis))}\n")
        return Exit.DONE
    page = _page(out)
    page.write(out, doctor_lines(diagnosis, page))
    return Exit.DONE


def _page(console: Console) -> Page:
    return Page(console.width, glyphs_of(console))


def _waiting(what: str) -> Status:
    """A spinner on stderr where that is a terminal; nothing elsewhere."""
    console = stderr()
    dull = console.is_dumb_terminal or glyphs_of(console) is ASCII
    return console.status(what, spinner="line" if dull else "dots")
