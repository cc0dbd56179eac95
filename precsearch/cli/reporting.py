"""What `report`, `watch`, `upgrade` and `plan` do once their options are known.

What one of them needs is imported in it: a command starts without the others' modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from precsearch.cli.cells import clean, magnitude
from precsearch.cli.exit_codes import Exit
from precsearch.cli.output.page import Page
from precsearch.cli.output.streams import glyphs_of, stdout
from precsearch.core.errors import OptionError
from precsearch.report import (
    compare,
    difference_lines,
    difference_page,
    is_run,
    members,
    run_page,
    runs_page,
    tell,
)
from precsearch.search.journal import NAME
from precsearch.setup.files import check_free, write_output

__all__ = ["plan", "report", "upgraded", "watch"]

_TWO = 2


def report(paths: Sequence[Path], output: Path | None, *, force: bool) -> Exit:
    """Write a page about a run, compare two plans, or show several runs beside each other.

    Raises:
        InputError: What to report on cannot be read, or the page not be written.
    """
    inputs = [p / NAME if p.is_dir() else p for p in paths]
    runs = sum(map(is_run, paths))
    if len(paths) == _TWO and runs == 0:
        return _difference(paths[0], paths[1], output, force=force)
    if len(paths) > _TWO or runs > 1:
        return _side_by_side(paths, inputs, output, force=force)
    target = output or Path(f"{_stem(paths[0])}.report.html")
    check_free([target], force=force, inputs=inputs)
    story = tell(paths)
    _written(target, run_page(story), story.model, force=force)
    return Exit.DONE


def _difference(first: Path, second: Path, output: Path | None, *, force: bool) -> Exit:
    """Say how two plans differ; as a page, if a place for one is named."""
    if output is not None:
        check_free([output], force=force, inputs=[first, second])
    difference = compare(first, second)
    if output is not None:
        _written(output, difference_page(difference), f"{first} and {second}", force=force)
        return Exit.DONE
    out = stdout()
    page = Page(out.width, glyphs_of(out))
    page.write(out, [Text(clean(line)) for line in difference_lines(difference)])
    return Exit.DONE


def _side_by_side(
    paths: Sequence[Path], inputs: Sequence[Path], output: Path | None, *, force: bool
) -> Exit:
    """Say what several runs reached; as a page, if a place for one is named."""
    if output is not None:
        check_free([output], force=force, inputs=inputs)
    found = members(paths)
    if output is not None:
        _written(output, runs_page(found), f"{len(found)} runs", force=force)
        return Exit.DONE
    from precsearch.cli.output.runs import side_by_side_lines

    out = stdout()
    page = Page(out.width, glyphs_of(out))
    page.write(out, side_by_side_lines(found, page))
    return Exit.DONE


def upgraded(plan: Path, output: Path, *, force: bool) -> Exit:
    """Write a plan in the present schema.

    Raises:
        InputError: It cannot be read, or the new one not be written.
    """
    from precsearch.replay.upgrade import upgrade

    outcome = upgrade(plan, output, force=force)
    out = stdout()
    page = Page(out.width, glyphs_of(out))
    head = Text.assemble((f"{clean(output.name)}: ", "bold"), ("plan upgraded", "bold green"))
    lines = [head, *(Text(clean(line)) for line in outcome.lines), Text()]
    lines.append(page.place("plan", outcome.plan))
    if outcome.evidence is not None:
        lines.append(page.place("evidence", outcome.evidence))
    page.write(out, [*lines, *page.facts([("digest", outcome.digest)])])
    return Exit.DONE


def plan(
    run: Path, at: float | None, output: Path | None, *, model: Path | None, force: bool
) -> Exit:
    """Show the front of a run, or write the plan of an engine on it.

    Raises:
        InputError: The run or its model cannot be read, or the plan not be written.
        ReplayError: The engine does not come out as it was measured.
    """
    from precsearch.cli.output.runs import front_lines, plan_at_lines
    from precsearch.optimization.front.plan_at import front, plan_at

    if (at is None) != (output is None):
        raise OptionError("a plan needs both: --at T for the engine, -o FILE for the plan")
    out = stdout()
    page = Page(out.width, glyphs_of(out))
    if at is None or output is None:
        page.write(out, front_lines(*front(run), page))
    else:
        outcome = plan_at(run, at, output, model=model, force=force)
        page.write(out, plan_at_lines(outcome, page))
    return Exit.DONE


def watch(run: Path) -> Exit:
    """Show a run until it has ended.

    Raises:
        InputError: Its journal cannot be read or is damaged.
    """
    from precsearch.cli.progress.watch import watch as watch_run

    watch_run(run, stdout())
    return Exit.DONE


def _written(path: Path, html: str, what: str, *, force: bool) -> None:
    write_output(path, html, force=force)
    out = stdout()
    page = Page(out.width, glyphs_of(out))
    rows = [("size", f"{magnitude(path.stat().st_size)}B, opens in any browser, needs no network")]
    head = Text.assemble((f"{clean(what)}: ", "bold"), ("report written", "bold green"))
    page.write(out, [head, Text(), page.place("report", path), *page.facts(rows)])


def _stem(path: Path) -> str:
    """``model`` of ``model.precsearch``, ``model.plan.json`` and ``model.precsearch/journal…``."""
    path = path.resolve()
    name = path.parent.name if path.name == NAME else path.name
    for end in (".plan.json", ".json", ".precsearch", ".jsonl"):
        name = name.removesuffix(end)
    return name or "precsearch"
