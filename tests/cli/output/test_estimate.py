"""What ``optimize --dry-run`` prints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from precsearch.api import DryRun, OptimizeConfig
from precsearch.cli.cells import UNICODE
from precsearch.cli.output.estimate import dry_run_lines
from precsearch.cli.output.page import Page

CHEAP = DryRun("onnxruntime", 9, {"int8": 7}, 0, 96, 64, 32, (3, 20, 60), 2.5)


def said(found: DryRun, **options: object) -> dict[str, str]:
    """The facts by their names."""
    config = OptimizeConfig(Path("m.onnx"), **options)  # type: ignore[arg-type]
    rows = [str(line).split(None, 1) for line in dry_run_lines(found, config, Page(100, UNICODE))]
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def changed(**fields: object) -> DryRun:
    return replace(CHEAP, **fields)  # type: ignore[arg-type]


def test_a_strategy_with_an_estimate_gives_engines_and_time() -> None:
    facts = said(CHEAP)
    assert facts["engines"] == "3 to 60, probably about 20"
    told = "2.5s an engine: from 12s, probably about 1m19s, with set-up, proxies and confirmation"
    assert facts["time"] == told
    assert "rules" not in facts


def test_set_up_counts_and_a_time_budget_bounds_it() -> None:
    assert said(changed(setup_seconds=20.0))["time"].startswith("2.5s an engine: from 32s, ")
    capped = said(changed(time_budget=30.0, setup_seconds=20.0))["time"]
    assert "from 30s, probably about 30s" in capped


def test_no_engine_is_tried_where_engines_take_minutes() -> None:
    facts = said(changed(engine_seconds=None))
    assert facts["time"] == "not tried: building one engine may take minutes"
    assert facts["engines"] == "3 to 60, probably about 20"


@pytest.mark.parametrize(("hazards", "words"), [(1, "1 group "), (4, "4 groups ")])
def test_rules_are_counted(hazards: int, words: str) -> None:
    assert said(changed(hazards=hazards))["rules"] == f"keep {words}out of fp16"


def test_without_an_estimate_of_the_strategy_the_budget_is_shown() -> None:
    silent = changed(builds=None)
    facts = said(silent, strategy="tpe", max_builds=7)
    assert facts["engines"] == "the strategy 'tpe' does not say how many; --max-builds allows 7"
    assert facts["time"] == "2.5s an engine"
    assert said(silent, strategy="tpe")["engines"].endswith("does not say how many")
