"""What `inspect` says of the model's work: how much can be decided, and why the rest cannot."""

from __future__ import annotations

from rich.text import Text

from precsearch.api import Counted, Inspection
from precsearch.cli.cells import clean, magnitude, many, milliseconds
from precsearch.cli.output.page import Page
from precsearch.setup.unsearched import unsearched

__all__ = ["time_of", "undecided_lines", "work_of"]

_SHOWN = 20


def work_of(found: Counted) -> list[tuple[str, str]]:
    """One row: the multiply-accumulates of a sample, and the share that a search can decide."""
    if not found.total.macs:
        return []
    total = magnitude(found.total.macs)
    counted = ""
    if found.batch:
        counted = f" ({clean(found.batch)} = 1)"
    elif found.shapes > 1:
        counted = f" (first sample; the data has {found.shapes} shapes)"
    if not found.total.exact:
        remedy = "" if found.shapes else "; --data tells them"
        return [("work", f"at least {total} MACs a sample{counted}: sizes are open (+){remedy}")]
    if found.decidable.macs == found.total.macs:
        return [("work", f"{total} MACs a sample{counted}, all to decide")]
    share = found.decidable.macs / found.total.macs
    some = (
        f"{magnitude(found.decidable.macs)} ({100 * share:.0f} %)"
        if found.decidable.macs
        else "none"
    )
    return [("work", f"{total} MACs a sample{counted}, {some} to decide")]


def time_of(found: Inspection, page: Page) -> list[tuple[str, str]]:
    """One row: the FP32 time of an inference, the share that a search can decide, the source."""
    fp32, share = found.fp32, found.decidable_time
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
    said = "; ".join((source, noise, fp32.device, *fp32.latency.unsure))
    return [("time", f"FP32 {milliseconds(seconds)} an inference{batch}, {decided} ({said})")]


def undecided_lines(found: Counted, page: Page) -> list[Text]:
    """One line a layer that has no choice, with the reason, and what is inside of other nodes."""
    lines: list[Text] = []
    if found.undecided:
        number = len(found.undecided)
        said = f"{many(number, 'layer')} without a choice"
        lines += page.sentence(said, "")
        for layer in found.undecided[:_SHOWN]:
            lines.append(
                Text.assemble(
                    f"  {clean(layer.node)}  ", (clean(f"{layer.op_type}: {layer.reason}"), "dim")
                )
            )
        if number > _SHOWN:
            lines.append(Text(f"  {page.glyphs.ellipsis} {number - _SHOWN} more", style="dim"))
    for sentence in unsearched(found.hidden):
        lines += page.sentence(sentence, "! ", "yellow")
    return lines
