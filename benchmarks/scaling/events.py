"""What the events of a search say about the devices that it used."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Event = dict[str, Any]

_CUT_OFF = 130
"""Exit code of a search that the time limit of this script ended."""


@dataclass
class Seen:
    """What the events of a search tell."""

    wall: float = 0.0
    setup: float = 0.0
    engines: int = 0
    failed: int = 0
    proxies: int = 0
    repeated: int = 0
    seconds: list[float] = field(default_factory=list)
    idle: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    ratio: float | None = None
    loss: float | None = None
    code: int = -1
    killed: int = 0

    @property
    def whole(self) -> bool:
        """Whether it came to its end with a plan, so that its wall time says something."""
        return self.code == 0 and self.ratio is not None


def seen(events: Iterator[Event]) -> Seen:
    """Read the events of one search."""
    found, spans = Seen(), defaultdict[str, list[tuple[float, float]]](list)
    numbers, begun, ended = set[int](), 0.0, 0.0
    for e in events:
        kind = e["type"]
        if kind == "SearchStarted":
            begun, found.setup = e["at"], e["at"]
        elif kind == "TrialFinished":
            trial = e["trial"]
            spans[trial.get("device", "")].append((e["at"] - trial["seconds"], e["at"]))
            found.repeated += trial["number"] in numbers
            numbers.add(trial["number"])
            _count(found, trial)
        elif kind == "SearchFinished":
            ended, found.reason = e["at"], e["reason"]
        elif kind == "PlanWritten":
            found.ratio, found.loss = e["ratio"], e["loss"]
        elif kind == "Ended":
            found.wall, found.code, found.killed = e["at"], e["code"], e["killed"]
    window = max(ended - begun, 1e-9)
    found.idle = {d: 1 - _covered(s, begun, ended) / window for d, s in sorted(spans.items()) if d}
    return found


def _count(found: Seen, trial: Event) -> None:
    if trial["proposal"]["fidelity"] != "engine":
        found.proxies += 1
    elif trial["outcome"]["type"] == "Failed":
        found.failed += 1
    else:
        found.engines += 1
        found.seconds.append(trial["seconds"])


def _covered(spans: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Seconds of the window in which at least one span is open."""
    covered, reached = 0.0, begin
    for low, high in sorted(spans):
        covered += max(0.0, min(high, end) - max(low, reached))
        reached = max(reached, min(high, end))
    return covered


def read(path: Path) -> Iterator[Event]:
    """The events that `run` kept."""
    return (json.loads(line) for line in path.read_text().splitlines())


def finished(path: Path) -> bool:
    """Whether a search is recorded there that need not run again: not one that failed."""
    return path.exists() and seen(read(path)).code in (0, _CUT_OFF)


def table(output: Path) -> str:
    """All searches of the folder, each beside the one on one device."""
    head = "| search | devices | wall, s | of one device | set-up, s | engines (failed) | proxies "
    head += "| s an engine | idle | of FP32 | loss | ended by | repeated | exit |"
    lines = [head, "|" + "---|" * 14]
    one: dict[str, float] = {}
    for path in sorted(output.glob("*.jsonl")):
        name, how = path.stem.rsplit(".", 1)
        s = seen(read(path))
        if how == "1" and s.whole:
            one[name] = s.wall
        # The time of a search that failed or was cut off is no speed.
        ratio = f"{one[name] / s.wall:.2f}x" if s.whole and name in one and how != "1" else ""
        of_fp32 = "-" if s.ratio is None else f"{s.ratio:.3f}"
        loss = "-" if s.loss is None else f"{s.loss:.1e}"
        idle = ", ".join(f"{d} {v:.0%}" for d, v in s.idle.items())
        took = f"{median(s.seconds):.1f}" if s.seconds else ""
        lines.append(
            f"| {name} | {how}{', one actor killed' if s.killed else ''} | {s.wall:.0f} | {ratio} "
            f"| {s.setup:.0f} | {s.engines} ({s.failed}) | {s.proxies} | {took} | {idle} "
            f"| {of_fp32} | {loss} | {s.reason} | {s.repeated} | {s.code} |"
        )
    return "\n".join(lines)
