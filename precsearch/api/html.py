"""A result as HTML in a notebook: a table of what came out, and the trials drawn beside it."""

from __future__ import annotations

from typing import Any

from precsearch.formatting import Scale, loss_bound, milliseconds, speedup, speedup_interval
from precsearch.measurement.timing.certainty import doubts
from precsearch.plan.plan import Plan
from precsearch.report.charts.rows import cost_span, data_of, loss_span
from precsearch.report.charts.specs import charts
from precsearch.report.html import render
from precsearch.report.run_facts import Facts

__all__ = ["plane", "result_html"]

_WIDTH = 560


def result_html(known: Facts, plan: Plan, summary: tuple[str, ...]) -> str:
    """A table and a picture, safe for names that a model chose.

    Raises:
        OptionError: Jinja is not installed.
    """
    from markupsafe import Markup  # Jinja brings it

    chart = plane(known)
    svg, hint = "", False
    if chart is not None:
        try:
            import vl_convert
        except ImportError:
            hint = True
        else:
            svg = vl_convert.vegalite_to_svg(chart[0])
    return render(
        "notebook.html",
        facts=_rows(plan),
        summary=summary,
        svg=Markup(svg),
        says="" if chart is None else chart[1],
        hint=hint,
    )


def plane(known: Facts) -> tuple[dict[str, Any], str] | None:
    """Every engine by latency and loss: a Vega-Lite specification with its data, and its sentence.

    Returns:
        ``None`` before an engine was timed.
    """
    rows = data_of(known)
    drawn = charts(known.bound, loss_span(known), cost_span(known), rows)
    if "plane" not in drawn:
        return None
    chart = drawn["plane"]
    spec = {**chart.spec, "width": _WIDTH, "datasets": {k: list(v) for k, v in rows.items()}}
    return spec, chart.says


def _rows(plan: Plan) -> list[tuple[str, str]]:
    evidence, criteria = plan.evidence, plan.criteria
    latency, scale = evidence.latency, Scale(criteria.metric)
    bound = loss_bound(criteria.metric, criteria.tolerance)
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    held = evidence.holdout
    loss = f"{scale(evidence.accuracy.loss)} on the search samples"
    if held is not None:
        loss += f", {scale(held.loss)} on the holdout"
    speed = f"{speedup(latency.ratio)} {evidence.fp32_words}'s ({interval})"
    return [
        ("speed", "; ".join((speed, *doubts(latency)))),
        (
            "latency",
            f"{milliseconds(latency.seconds)}, FP32 {milliseconds(evidence.baseline.seconds)}",
        ),
        ("loss", f"{loss}; {scale.bound(bound)}"),
        ("device", evidence.fingerprint.device),
    ]
