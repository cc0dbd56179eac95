"""A run as a page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from precsearch.certainty import doubts
from precsearch.plan import Finalist, Plan
from precsearch.report.charts import Chart, charts
from precsearch.report.facts import Facts
from precsearch.report.html import Cell, facts, figure, page, text
from precsearch.report.rows import cost_span, data_of, loss_span, scale_of
from precsearch.report.story import Story
from precsearch.report.tables import group_table, mismatch_table, range_table, trial_table
from precsearch.shell import argument, command
from precsearch.stopping import fp32_is_fastest, why_stopped
from precsearch.text import (
    Scale,
    clean,
    counts,
    duration,
    foretold,
    fp32_told,
    many,
    milliseconds,
    speedup,
    speedup_interval,
)

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
            _head(known),
            _search(known, drawn),
            _model(known, drawn),
            _choice(known, drawn),
            _calibration(known, drawn, rows),
            _trials(known, drawn),
            _versions(story),
            _replay(story),
        )
    )
    return page(f"{story.model}: precsearch", body, rows)


def _head(known: Facts) -> str:
    """Headline, what was asked, what came out, warnings."""
    story = known.story
    warnings = "".join(f'<p class="warning">{text(w)}</p>' for w in story.warnings)
    return (
        f'<p class="dim">precsearch report</p><h1>{text(story.model)}</h1>{_headline(known)}'
        f"{warnings}<div class=facts>"
        f"<section><h2>What was asked</h2>{_asked(known)}</section>"
        f"<section><h2>What came out</h2>{_outcome(known)}</section></div>"
    )


def _headline(known: Facts) -> str:
    story, bound = known.story, known.bound
    wanted = "" if bound is None else f", within {scale_of(bound).bound(bound.tolerance)}"
    if story.plan is None:
        best = next((t for t in known.trials if t.chosen), None)
        state = "no plan yet" if story.finished is None else "ended without a plan"
        if best is None or best.ratio is None:
            return f'<p class="head bad">{text(state)}: no engine within the bound so far</p>'
        said = f"{state}; best so far: {speedup(best.ratio)} FP32's speed{wanted}"
        return f'<p class="head">{text(said)}</p>'
    evidence, fp32 = story.plan.evidence, story.plan.evidence.fp32_words
    failed = evidence.finalists and not any(f.passed for f in evidence.finalists)
    if failed:
        return f'<p class="head bad">{text(f"nothing confirmed on the holdout{wanted}")}</p>'
    if not story.plan.recipe.assignment.entries:
        fastest = fp32_is_fastest(story.plan)
        said = f"{fp32} is the fastest" if fastest else f"nothing faster than {fp32} found"
        said += wanted + "".join(f"; {reason}" for reason in evidence.latency.unsure)
        return f'<p class="head">{text(said)}</p>'
    interval = speedup_interval(evidence.latency.ratio_low, evidence.latency.ratio_high)
    unsure = doubts(evidence.latency)
    said = f"{speedup(evidence.latency.ratio)} {fp32}'s speed ({interval}){wanted}"
    said += "".join(f"; {reason}" for reason in unsure)
    return f'<p class="head{"" if unsure else " good"}">{text(said)}</p>'


def _asked(known: Facts) -> str:
    story = known.story
    rows: list[tuple[str, object]] = []
    if known.bound is not None:
        rows.append(("bound", scale_of(known.bound).bound(known.bound.tolerance)))
    if story.run is not None:
        asked = story.run.identity
        rows += [
            (name, asked.get(name, "")) for name in ("backend", "precisions", "strategy", "seed")
        ]
        rows.append(("calibration", asked.get("calibration", "").partition(" ")[0]))
    elif story.plan is not None:
        evidence = story.plan.evidence
        rows += [
            ("backend", story.plan.recipe.backend),
            ("strategy", evidence.strategy),
            ("seed", str(story.plan.criteria.seed)),
            ("calibration", evidence.calibration),
        ]
    if story.search is not None:
        budget = story.search.budget
        limits = [] if budget.max_builds is None else [many(budget.max_builds, "engine")]
        limits += [] if budget.seconds is None else [duration(budget.seconds)]
        rows.append(("budget", " and ".join(limits) or "no limit"))
        rows.append(("noise", f"±{story.search.noise * 100:.1f} % of latency"))
    if story.plan is not None:
        rows += [(_label(k), _short(v)) for k, v in sorted(story.plan.criteria.data.items())]
    return facts(rows)


def _label(key: str) -> str:
    """A key of the plan's facts on data, in words."""
    words = key.replace("_", " ")
    return f"data {words}" if words in ("digest", "random") else words


def _outcome(known: Facts) -> str:
    story = known.story
    engines = sum(t.engine for t in known.trials)
    tried = f"{many(engines, 'engine')}, {many(len(known.trials) - engines, 'proxy', 'proxies')}"
    wanted = Counter(g.asked.value for g in known.groups if g.free)
    fixed = sum(not g.free for g in known.groups)
    no_choice = f"; {fixed} more have no choice" if fixed else ""
    rows: list[tuple[str, object]] = []
    if story.plan is not None:
        rows += _measured(story.plan, known)
        rows.append(("groups", f"{counts(wanted)}{no_choice}"))
        took = duration(story.plan.evidence.seconds)
        why = why_stopped(story.plan.evidence.stopped)
        rows.append(("search", f"{tried} in {took}; {why}"))
        if story.plan.evidence.predictions is not None:
            rows.append(("models", foretold(story.plan.evidence.predictions)))
        rows.append(("plan", story.plan.digest[:16]))
    else:
        rows.append(("search", tried))
        if known.chosen is not None:
            rows.append(("groups", f"{counts(wanted)}{no_choice}"))
    return facts(rows)


def _measured(plan: Plan, known: Facts) -> list[tuple[str, object]]:
    """Loss and latency as confirmed."""
    evidence, scale = plan.evidence, scale_of(known.bound)

    def loss(value: float) -> str:
        assert known.bound is not None
        share = scale.of_bound(value, known.bound.tolerance)
        return f"{scale(value)}{f' ({share})' if share else ''}"

    latency = evidence.latency
    rows: list[tuple[str, object]] = [
        ("loss", f"{loss(evidence.accuracy.loss)} on the search samples"),
        ("worst", f"{scale(evidence.accuracy.worst)}, of one search sample"),
        (
            "latency",
            f"{milliseconds(latency.seconds)} ({milliseconds(latency.low)} to "
            f"{milliseconds(latency.high)}), FP32 {milliseconds(evidence.baseline.seconds)}",
        ),
        *([("FP32", fp32_told(evidence, scale))] if evidence.fp32 else []),
    ]
    if evidence.holdout is not None:
        rows.insert(1, ("holdout", loss(evidence.holdout.loss)))
    return rows


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
        rows = [("precsearch", evidence.version), ("device", evidence.where.device)]
        rows += sorted(evidence.where.versions.items())
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


def _short(value: object) -> str:
    said = str(value)
    return said if len(said) <= 24 else f"{said[:16]}…"
