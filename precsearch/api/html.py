"""A result as a notebook shows it: a table of what came out, and the trials drawn beside it."""

from __future__ import annotations

from html import escape

from precsearch.formatting import Scale, clean, loss_bound, milliseconds, speedup, speedup_interval
from precsearch.measurement.timing.certainty import doubts
from precsearch.plan.plan import Plan
from precsearch.report.charts.rows import cost_span, data_of, loss_span
from precsearch.report.charts.specs import charts
from precsearch.report.run_facts import Facts

__all__ = ["picture", "result_html"]

_WIDTH = 560


def result_html(known: Facts, plan: Plan, summary: tuple[str, ...]) -> str:
    """A table and a picture, safe for names that a model chose."""
    said = "".join(f"<p>{_text(sentence)}</p>" for sentence in summary)
    rows = "".join(
        f"<tr><th style='text-align:left'>{_text(k)}</th><td style='text-align:left'>{_text(v)}"
        "</td></tr>"
        for k, v in _rows(plan)
    )
    return f"<div><table>{rows}</table>{said}{picture(known)}</div>"


def picture(known: Facts) -> str:
    """Every engine by latency and loss, as SVG; a hint where the package that draws is missing."""
    try:
        import vl_convert
    except ImportError:
        return "<p>pip install 'precsearch[report]' draws the trials here</p>"
    rows = data_of(known)
    drawn = charts(known.bound, loss_span(known), cost_span(known), rows)
    if "plane" not in drawn:
        return ""
    chart = drawn["plane"]
    spec = {**chart.spec, "width": _WIDTH, "datasets": {k: list(v) for k, v in rows.items()}}
    svg: str = vl_convert.vegalite_to_svg(spec)
    return f"<figure>{svg}<figcaption>{_text(chart.says)}</figcaption></figure>"


def _rows(plan: Plan) -> list[tuple[str, str]]:
    evidence, criteria = plan.evidence, plan.criteria
    latency, scale = evidence.latency, Scale(criteria.metric)
    bound = loss_bound(criteria.metric, criteria.tolerance)
    interval = speedup_interval(latency.ratio_low, latency.ratio_high)
    held = evidence.holdout
    loss = f"{scale(evidence.accuracy.loss)} on the search samples"
    if held is not None:
        loss += f", {scale(held.loss)} on the holdout"
    sure = "; ".join(doubts(latency))
    return [
        ("speed", f"{speedup(latency.ratio)} {evidence.fp32_words}'s ({interval}); {sure}"),
        (
            "latency",
            f"{milliseconds(latency.seconds)}, FP32 {milliseconds(evidence.baseline.seconds)}",
        ),
        ("loss", f"{loss}; {scale.bound(bound)}"),
        ("device", evidence.fingerprint.device),
    ]


def _text(text: str) -> str:
    return escape(clean(text.removesuffix("; ")))
