"""A run as a page."""

from __future__ import annotations

from pathlib import Path

from precsearch.formatting import Scale, clean, many, speedup
from precsearch.plan.plan import Finalist
from precsearch.report.charts.rows import cost_span, data_of, loss_span, scale_of
from precsearch.report.charts.specs import Chart, charts
from precsearch.report.head import details, head
from precsearch.report.html import Cell, facts, figure, page, text
from precsearch.report.run_facts import Facts
from precsearch.report.run_record import Story
from precsearch.report.tables import (
    engine_table,
    group_table,
    mismatch_table,
    range_table,
    trial_table,
)
from precsearch.system.shell import argument, command

__all__ = ["run_page"]


def run_page(story: Story) -> str:
    """A self-contained HTML file.

    Raises:
        OptionError: The package that draws is not installed.
    """
    known = Facts(story)
    rows = data_of(known)
    drawn = charts(known.bound, loss_span(known), cost_span(known), rows)
    body = "\n".join(
        (
            head(known),
            _engines(known),
            _replay(story),
            _search(known, drawn),
            _model(known, drawn),
            _choice(known, drawn),
            _trials(known, drawn),
            _calibration(known, drawn, rows),
            details(known),
            _versions(story),
        )
    )
    return page(f"{story.model}: precsearch", body, rows)


def _engines(known: Facts) -> str:
    engines = known.story.engines
    if engines is None:
        return ""
    return f"<h2>Engines beside each other</h2>{engine_table(engines, scale_of(known.bound))}"


def _search(known: Facts, drawn: dict[str, Chart]) -> str:
    if "plane" not in drawn:
        return '<h2>Accuracy and latency</h2><p class="dim">No trial has ended yet.</p>'
    failed = [t for t in known.trials if t.verdict == "failed"]
    note = f'<p class="dim">{many(len(failed), "trial")} failed; see the table below.</p>'
    return (
        f"<h2>Accuracy and latency</h2>{figure(drawn['plane'])}{note if failed else ''}"
        f"<h2>Best so far, by engines built</h2>"
        f"{figure(drawn.get('progress')) or '<p class=dim>No engine within the bound yet.</p>'}"
    )


def _model(known: Facts, drawn: dict[str, Chart]) -> str:
    count = len(known.groups)
    order = "" if known.ordered else " The journal does not tell their order: sorted by name."
    figures = "".join(figure(drawn.get(n), count) for n in ("strip", "sensitivity", "times"))
    return f'<h2>The model</h2><p class="dim">{many(count, "group")}.{order}</p>{figures}'


def _choice(known: Facts, drawn: dict[str, Chart]) -> str:
    scale = scale_of(known.bound)
    shown = known.groups
    title = f"{many(len(shown), 'group')}, and why each has its precision"
    return (
        "<h2>What each group costs and gains</h2>"
        f"{figure(drawn.get('tradeoff'))}"
        f"<h2>Asked and achieved</h2>{mismatch_table(shown)}"
        f"{_folded(title, group_table(shown, scale), 'groups', len(shown))}"
    )


def _trials(known: Facts, drawn: dict[str, Chart]) -> str:
    listed = trial_table(known.trials, scale_of(known.bound))
    title = f"{many(len(known.trials), 'trial')}"
    judged = known.story.plan.evidence.finalists if known.story.plan is not None else ()
    looks = [
        f"trial {f.trial}: {speedup(f.ratio)} FP32's speed, {'pass' if f.passed else 'over bound'}"
        f"{_look(f, scale_of(known.bound))}"
        for f in judged
    ]
    finalists = facts([("holdout", "; ".join(looks))]) if looks else ""
    return (
        f"<h2>Trials</h2>{finalists}{figure(drawn.get('map'), len(known.groups))}"
        f"{_folded(title, listed, 'trials', len(known.trials))}"
    )


def _look(look: Finalist, scale: Scale) -> str:
    output = f" at {look.output}" if look.output and not look.passed else ""
    after = f" (continuation {look.round})" if look.round else ""
    return "" if look.holdout_loss is None else f", {scale(look.holdout_loss)}{output}{after}"


def _calibration(known: Facts, drawn: dict[str, Chart], rows: object) -> str:
    assert isinstance(rows, dict)
    if "ranges" not in drawn:
        return ""
    found = rows["ranges"]
    title = many(len(found), "tensor")
    return (
        f"<h2>Calibration</h2>{figure(drawn['ranges'], len(found))}"
        f"{_folded(title, range_table(found), 'tensors', len(found))}"
    )


def _folded(title: str, inner: str, ident: str, count: int) -> str:
    """A long table, folded up, with a field that filters its rows."""
    if not count:
        return ""
    field = (
        f'<input type="search" data-filters="{ident}" placeholder="filter" '
        f'aria-label="filter the {ident}">'
    )
    return f"<details><summary>{text(title)}</summary>{field}{inner}</details>"


def _versions(story: Story) -> str:
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
    return f"<h2>Versions</h2>{facts(rows)}"


def _replay(story: Story) -> str:
    if story.plan is None:
        return (
            "<h2>Replay</h2><p>There is no plan to replay yet. The command that began this run "
            "goes on with it if --resume is added.</p>"
        )
    recipe = story.plan.recipe
    file = story.plan_path.name if story.plan_path is not None else "model.plan.json"
    model = story.model if Path(story.model).suffix == ".onnx" else f"{story.model}.onnx"
    asked = story.plan.criteria
    compiled = bool(story.plan.evidence.engine)
    shipped = "optimised.engine" if compiled else "optimised.onnx"
    own = ["--metric", argument(asked.metric)] if asked.metric_sha256 else []
    measured = ["--data", "holdout.npz", *own, *(["--artifact", shipped] if compiled else [])]
    lines = [
        command("build", argument(file), "--model", argument(model), "-o", shipped),
        command("verify", argument(file), "--model", argument(model), *measured),
    ]
    makes = "builds the engine again" if compiled else "writes the same bytes again"
    promised = facts(
        [
            ("model", Cell(f"<code>{text(recipe.model_sha256)}</code>")),
            ("optimised", Cell(f"<code>{text(recipe.materialised_sha256)}</code>")),
            ("plan", Cell(f"<code>{text(story.plan.digest)}</code>")),
        ]
    )
    commands = "\n".join(str(text(clean(line))) for line in lines)
    return (
        f"<h2>Replay</h2><p>The first command {makes}, or says what differs; "
        f"the second measures them where it runs.</p><pre>{commands}</pre>"
        f"<p>SHA-256 of what is expected:</p>{promised}"
    )
