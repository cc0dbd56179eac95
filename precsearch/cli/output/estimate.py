"""What `optimize --dry-run` prints."""

from __future__ import annotations

from rich.text import Text

from precsearch.api import DryRun, OptimizeConfig
from precsearch.cli.output.page import Page
from precsearch.formatting import clean, duration, many

__all__ = ["dry_run_lines"]


def dry_run_lines(found: DryRun, config: OptimizeConfig, page: Page) -> list[Text]:
    """The space, the data, and how many engines and how long."""
    choices = ", ".join(f"{count} may be {name}" for name, count in found.choices.items())
    rows = [
        ("backend", found.backend),
        ("groups", f"{found.groups}: {choices or 'none has a choice'}"),
        (
            "samples",
            f"{found.calibration_samples} to calibrate, {found.search_samples} to search with, "
            f"{found.holdout_samples} held out",
        ),
        ("engines", _engines(found, config)),
        ("time", _time(found)),
    ]
    if found.hazards:
        rows.insert(2, ("rules", f"keep {many(found.hazards, 'group')} out of fp16"))
    title = Text(f"{clean(config.model.name)}: nothing was searched or written", style="bold")
    return [title, Text(), *page.facts(rows)]


def _engines(found: DryRun, config: OptimizeConfig) -> str:
    if found.builds is None:
        limit = config.max_builds
        most = "" if limit is None else f"; --max-builds allows {limit}"
        return f"the strategy {config.strategy!r} does not say how many{most}"
    least, likely, most_builds = found.builds
    return f"{least} to {most_builds}, probably about {likely}"


def _time(found: DryRun) -> str:
    if found.engine_seconds is None:
        return "not tried: building one engine may take minutes"
    one = f"{duration(found.engine_seconds)} an engine"
    if found.seconds is None:
        return one
    least, likely = found.seconds
    return (
        f"{one}: from {duration(least)}, probably about {duration(likely)}, with set-up, proxies "
        "and confirmation"
    )
