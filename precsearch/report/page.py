"""A run as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from precsearch.core.errors import OptionError
from precsearch.formatting import Scale, many, speedup
from precsearch.plan.plan import Finalist, Plan
from precsearch.replay.portable import loading_of
from precsearch.report.answer import answer
from precsearch.report.charts.rows import Row, cost_span, data_of, loss_span, scale_of
from precsearch.report.charts.specs import charts
from precsearch.report.head import asked, headline, outcome
from precsearch.report.html import Cell, Table, facts, page, text
from precsearch.report.run_facts import Facts
from precsearch.report.run_record import Story
from precsearch.report.tables import (
    achieved_table,
    engine_table,
    group_table,
    range_table,
    trial_table,
)
from precsearch.system.shell import argument, command

__all__ = ["run_page"]


def run_page(story: Story) -> str:
    """A self-contained HTML file.

    Raises:
        OptionError: A package that draws is not installed.
    """
    known = Facts(story)
    rows = data_of(known)
    drawn = charts(known.bound, loss_span(known), cost_span(known), rows)
    failed = sum(t.verdict == "failed" for t in known.trials)
    scale = scale_of(known.bound)
    return page(
        "run.html",
        rows,
        title=f"{story.model}: precsearch",
        model=story.model,
        headline=headline(known),
        warnings=story.warnings,
        bars=answer(known),
        engines=_engines(known, scale),
        replay=_replay(story),
        charts=drawn,
        failed=many(failed, "trial") if failed else "",
        groups=len(known.groups),
        counted=many(len(known.groups), "group"),
        ordered=known.ordered,
        achieved=achieved_table(known.groups),
        group_table=group_table(known.groups, scale),
        trials=many(len(known.trials), "trial"),
        looks=_looks(known, scale),
        trial_table=trial_table(known.trials, scale),
        **_calibration(rows),
        outcome=outcome(known),
        asked=asked(known),
        versions=_versions(story),
    )


@dataclass(frozen=True, slots=True)
class Engines:
    """A search on several engines.

    Attributes:
        table: What each reached.
        together: Whether they were timed in the same rounds.
    """

    table: Table
    together: bool


def _engines(known: Facts, scale: Scale) -> Engines | None:
    engines = known.story.engines
    if engines is None:
        return None
    return Engines(engine_table(engines, scale), engines.rows[0].together)


def _looks(known: Facts, scale: Scale) -> list[tuple[str, Cell]]:
    judged = known.story.plan.evidence.finalists if known.story.plan is not None else ()
    rows = [
        f"trial {f.trial}: {speedup(f.ratio)} FP32's speed, {'pass' if f.passed else 'over bound'}"
        f"{_look(f, scale)}"
        for f in judged
    ]
    return facts([("holdout", "; ".join(rows))])


def _look(look: Finalist, scale: Scale) -> str:
    output = f" at {look.output}" if look.output and not look.passed else ""
    after = f" (continuation {look.round})" if look.round else ""
    return "" if look.holdout_loss is None else f", {scale(look.holdout_loss)}{output}{after}"


def _calibration(rows: Mapping[str, list[Row]]) -> dict[str, Table | str]:
    ranges = rows.get("ranges", [])
    return {"range_table": range_table(ranges), "tensors": many(len(ranges), "tensor")}


def _versions(story: Story) -> list[tuple[str, Cell]]:
    rows: list[tuple[str, object]] = []
    if story.run is not None:
        rows.append(("precsearch", story.run.version))
    if story.search is not None:
        rows.append(("device", story.search.device))
    if story.plan is not None:
        evidence, recipe = story.plan.evidence, story.plan.recipe
        rows = [("precsearch", evidence.version), ("device", evidence.fingerprint.device)]
        rows += sorted(evidence.fingerprint.versions.items())
        rows += [("made", evidence.created), ("lowering", recipe.lowering)]
        rows += [("scheme", recipe.scheme), ("granularity", recipe.granularity)]
        rows += sorted(recipe.options.items())
    return facts(rows)


@dataclass(frozen=True, slots=True)
class Replay:
    """How a plan is built, measured and used.

    Attributes:
        makes: What the first command does.
        commands: To copy.
        loading: Lines of Python that open what was built; nothing where the engine is unknown here.
        promised: Digests of what is expected.
    """

    makes: str
    commands: tuple[str, ...]
    loading: tuple[str, ...]
    promised: list[tuple[str, Cell]]


def _replay(story: Story) -> Replay | None:
    plan = story.plan
    if plan is None:
        return None
    file = story.plan_path.name if story.plan_path is not None else "model.plan.json"
    model = story.model if Path(story.model).suffix == ".onnx" else f"{story.model}.onnx"
    compiled = bool(plan.evidence.engine)
    shipped = "optimized.engine" if compiled else "optimized.onnx"
    own = ["--metric", argument(plan.criteria.metric)] if plan.criteria.metric_sha256 else []
    measured = ["--data", "holdout.npz", *own, *(["--artifact", shipped] if compiled else [])]
    return Replay(
        makes="builds the engine again" if compiled else "writes the same bytes again",
        commands=(
            text(command("build", argument(file), "--model", argument(model), "-o", shipped)).value,
            text(command("verify", argument(file), "--model", argument(model), *measured)).value,
        ),
        loading=_loading(plan, Path(shipped)),
        promised=[
            ("model", Cell(plan.recipe.model_sha256, form="code")),
            ("optimized", Cell(plan.recipe.materialised_sha256, form="code")),
            ("plan", Cell(plan.digest, form="code")),
        ],
    )


def _loading(plan: Plan, shipped: Path) -> tuple[str, ...]:
    try:
        return loading_of(plan.recipe, shipped)
    except OptionError:  # a plug-in's backend that is not installed where the page is made
        return ()
