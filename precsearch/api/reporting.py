"""`save_report` from Python: the page about a run, or about two plans."""

from __future__ import annotations

from pathlib import Path

from precsearch.api.options import FilePath
from precsearch.api.result import Result
from precsearch.report import compare as compare_plans
from precsearch.report import difference_page, run_page, tell
from precsearch.setup.files import check_free, write_output

__all__ = ["save_report"]


def save_report(
    run: FilePath | Result, output: FilePath, *, other: FilePath | None = None, force: bool = False
) -> Path:
    """Write the page about a run, or the page that compares two plans.

    Args:
        run: A result, a run directory, a journal or a plan.
        output: The page.
        other: Another plan, to be compared with ``run``, which is a plan then.
        force: Replace what is there.

    Returns:
        Where the page is.

    Raises:
        InputError: What to report on cannot be read, or the page not be written.
    """
    if other is not None:
        return _two(run, other, output, force)
    if isinstance(run, Result):
        return run.save_report(output, force=force)
    target = Path(output)
    check_free([target], force=force, inputs=[Path(run)])
    write_output(target, run_page(tell([Path(run)])), force=force)
    return target


def _two(run: FilePath | Result, other: FilePath, output: FilePath, force: bool) -> Path:
    first = run.plan_path if isinstance(run, Result) else Path(run)
    target = Path(output)
    check_free([target], force=force, inputs=[first, Path(other)])
    page = difference_page(compare_plans(first, Path(other)))
    write_output(target, page, force=force)
    return target
