"""`save_report` from Python: the page about a run, or about several."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from precsearch.api.options import FilePath
from precsearch.api.result import Result
from precsearch.report import compare as compare_plans
from precsearch.report import difference_page, is_run, members, run_page, runs_page, tell
from precsearch.search.journal import NAME
from precsearch.setup.files import check_free, write_output

__all__ = ["save_report"]

_TWO = 2


def save_report(
    run: FilePath | Result,
    output: FilePath,
    *,
    other: FilePath | Result | Sequence[FilePath | Result] | None = None,
    force: bool = False,
) -> Path:
    """Write the page about a run, or the page on several beside each other.

    Args:
        run: A result, a run directory, a journal or a plan.
        output: The page.
        other: What ``run`` is compared with: one or more of the same. Two results or plans make
            the page on how they differ, anything else the page on all of them, at most 8.
        force: Replace what is there.

    Returns:
        Where the page is.

    Raises:
        InputError: What to report on cannot be read, or the page not be written.
    """
    if other is not None:
        others = [other] if isinstance(other, str | PathLike | Result) else list(other)
        return _several([run, *others], Path(output), force)
    if isinstance(run, Result):
        return run.save_report(output, force=force)
    target = Path(output)
    check_free([target], force=force, inputs=[Path(run)])
    write_output(target, run_page(tell([Path(run)])), force=force)
    return target


def _several(runs: Sequence[FilePath | Result], target: Path, force: bool) -> Path:
    plans = [r.plan_path if isinstance(r, Result) else Path(r) for r in runs]
    paths = [r.run_path if isinstance(r, Result) else Path(r) for r in runs]
    check_free([target], force=force, inputs=[p / NAME if p.is_dir() else p for p in paths])
    if len(plans) == _TWO and not any(map(is_run, plans)):
        page = difference_page(compare_plans(*plans))
    else:
        page = runs_page(members(paths))
    write_output(target, page, force=force)
    return target
