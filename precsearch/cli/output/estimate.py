"""What `optimize --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from precsearch.formatting import clean, duration, many

if TYPE_CHECKING:
    from precsearch.api import DryRun, OptimizeConfig
    from precsearch.cli.output.page import Page

__all__ = ["dry_run_lines"]


def dry_run_lines(dry_run: DryRun, config: OptimizeConfig, page: Page) -> list[Text]:
    """The space, the data, and how many engines and how long."""
    choices = ", ".join(f"{count} may be {name}" for name, count in dry_run.choices.items())
    rows = [
        ("backend", dry_run.backend),
        ("groups", f"{dry_run.groups}: {choices or 'none has a choice'}"),
        (
            "samples",
            f"{dry_run.calibration_samples} to calibrate, {dry_run.search_samples} to search with, "
            f"{dry_run.holdout_samples} held out",
        ),
        ("engines", _engines(dry_run, config)),
        ("time", _time(dry_run)),
    ]
    if dry_run.hazards:
        rows.insert(2, ("rules", f"keep {many(dry_run.hazards, 'group')} out of fp16"))
    title = Text(f"{clean(config.model.name)}: nothing was searched or written", style="bold")
    return [title, Text(), *page.facts(rows)]


def _engines(dry_run: DryRun, config: OptimizeConfig) -> str:
    if dry_run.builds is None:
        limit = config.max_builds
        most = "" if limit is None else f"; --max-builds allows {limit}"
        return f"the strategy {config.strategy!r} does not say how many{most}"
    least, likely, most_builds = dry_run.builds
    return f"{least} to {most_builds}, probably about {likely}"


def _time(dry_run: DryRun) -> str:
    if dry_run.engine_seconds is None:
        return "not tried: building one engine may take minutes"
    one = f"{duration(dry_run.engine_seconds)} an engine"
    if dry_run.seconds is None:
        return one
    least, likely = dry_run.seconds
    return (
        f"{one}: from {duration(least)}, probably about {duration(likely)}, with set-up, proxies "
        "and confirmation"
    )
