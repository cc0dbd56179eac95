"""What `inspect` says of the model's work: how much can be decided, and why the rest cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from precsearch.cli.cells import clean, magnitude, many, milliseconds
from precsearch.setup.unsearched import unsearched

if TYPE_CHECKING:
    from precsearch.api import Counted, Inspection
    from precsearch.cli.output.page import Page

__all__ = ["time_of", "undecided_lines", "work_of"]

_SHOWN = 20


def work_of(counts: Counted) -> list[tuple[str, str]]:
    """One row: the multiply-accumulates of a sample, and the share that a search can decide."""
    if not counts.total.macs:
        return []
    total = magnitude(counts.total.macs)
    counted = ""
    if counts.batch:
        counted = f" ({clean(counts.batch)} = 1)"
    elif counts.shapes > 1:
        counted = f" (first sample; the data has {counts.shapes} shapes)"
    if not counts.total.exact:
        remedy = "" if counts.shapes else "; --data tells them"
        return [("work", f"at least {total} MACs a sample{counted}: sizes are open (+){remedy}")]
    if counts.decidable.macs == counts.total.macs:
        return [("work", f"{total} MACs a sample{counted}, all to decide")]
    share = counts.decidable.macs / counts.total.macs
    some = (
        f"{magnitude(counts.decidable.macs)} ({100 * share:.0f} %)"
        if counts.decidable.macs
        else "none"
    )
    return [("work", f"{total} MACs a sample{counted}, {some} to decide")]


def time_of(inspection: Inspection, page: Page) -> list[tuple[str, str]]:
    """One row: the FP32 time of an inference, the share that a search can decide, the source."""
    fp32, share = inspection.fp32, inspection.decidable_time
    if fp32 is None or share is None:
        return [("time", "FP32 not measured: --profile times it now, --run takes it from a run")]
    mean, low, high = share
    seconds = fp32.latency.seconds
    batch = f" of {fp32.samples} samples" if fp32.samples > 1 else ""
    decided = f"{milliseconds(mean * seconds)} ({100 * mean:.0f} %) to decide"
    source = f"from {fp32.source}" if fp32.source else "timed now"
    if len(fp32.profiles) > 1:
        source += f", {100 * low:.0f} to {100 * high:.0f} % in {len(fp32.profiles)} profiles"
    else:
        source += ", one profile"
    noise = f"timing noise {page.glyphs.plus_minus}{100 * fp32.noise:.1f} %"
    text = "; ".join((source, noise, fp32.device, *fp32.latency.unsure))
    return [("time", f"FP32 {milliseconds(seconds)} an inference{batch}, {decided} ({text})")]


def undecided_lines(counted: Counted, page: Page) -> list[Text]:
    """One line a layer that has no choice, with the reason, and what is inside of other nodes."""
    lines: list[Text] = []
    if counted.undecided:
        number = len(counted.undecided)
        text = f"{many(number, 'layer')} without a choice"
        lines += page.sentence(text, "")
        for layer in counted.undecided[:_SHOWN]:
            lines.append(
                Text.assemble(
                    f"  {clean(layer.node)}  ", (clean(f"{layer.op_type}: {layer.reason}"), "dim")
                )
            )
        if number > _SHOWN:
            lines.append(Text(f"  {page.glyphs.ellipsis} {number - _SHOWN} more", style="dim"))
    for sentence in unsearched(counted.hidden):
        lines += page.sentence(sentence, "! ", "yellow")
    return lines
