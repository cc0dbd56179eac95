"""Tables of `benchmarks.gpu.ort_cuda`, from its lines of JSON.

python -m benchmarks.gpu.ort_tables FILE.jsonl …
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]


def tables(rows: Sequence[Row]) -> str:
    """All that there are."""
    parts = (
        short(rows),
        engines(rows),
        searches(rows),
        layouts(rows),
        peers(rows),
        noise(rows),
        failures(rows),
    )
    return "\n\n".join(part for part in parts if part)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    made = ["| " + " | ".join(line) + " |" for line in lines]
    if not made:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *made])


def _of(rows: Sequence[Row], kind: str) -> list[Row]:
    return [r for r in rows if r["kind"] == kind]


def _engine(row: Row) -> list[str]:
    if row.get("failed") or "ms" not in row:
        return [row["story"], row["engine"], "-", "-", "-", "-", row.get("failed", "")[:120]]
    low, high = row["low"], row["high"]
    half = row.get("of FP16")
    return [
        row["story"],
        row["engine"],
        f"{row['ms']:.3f} [{low:.3f}, {high:.3f}]",
        f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]",
        "-" if half is None else f"{half[0]:.3f} [{half[1]:.3f}, {half[2]:.3f}]",
        f"{row['loss']:.1e}",
        "yes" if row["passes"] else "no",
    ]


_HEAD = ("model", "engine", "ms", "of FP32", "of FP16 everywhere", "loss", "within")


_SHORT = ("FP32", "TF32", "FP16 everywhere", "BF16 everywhere", "precsearch")


def short(rows: Sequence[Row]) -> str:
    """A line a model: milliseconds with half of the interval, and loss, of each engine."""
    names = list(dict.fromkeys(r["story"] for r in _of(rows, "engine")))
    head = ("model", *_SHORT, "of FP16's time", "engines", "seconds", "own")
    return _table(head, (_short(rows, name) for name in names))


def _short(rows: Sequence[Row], name: str) -> list[str]:
    mine = [r for r in rows if r["story"] == name]
    found = {r["engine"]: r for r in _of(mine, "engine")}
    search = _of(mine, "search")[0]
    half = found.get("precsearch", {}).get("of FP16")
    return [
        name,
        *(_cell(found.get(engine, {})) for engine in _SHORT),
        "-" if half is None else f"{half[0]:.3f} [{half[1]:.3f}, {half[2]:.3f}]",
        str(sum(r["fidelity"] == "engine" for r in _of(mine, "trial"))),
        f"{search['wall']:.0f}",
        f"{search['strategy'] / search['wall']:.1%}",
    ]


def _cell(row: Row) -> str:
    if "ms" not in row:
        return "-"
    margin = (row["high"] - row["low"]) / 2
    loss = f"{row['loss']:.1e}"
    return f"{row['ms']:.3f} ± {margin:.3f}; {loss if row['passes'] else f'**{loss}**'}"


def engines(rows: Sequence[Row]) -> str:
    """Engines of a search head to head."""
    return _table(_HEAD, (_engine(r) for r in _of(rows, "engine")))


def searches(rows: Sequence[Row]) -> str:
    """What each search cost and chose."""
    head = ("model", "engines", "seconds", "in engines", "own", "held", "kernels ran in")
    lines = []
    for row in _of(rows, "search"):
        name = row["story"]
        trials = [r for r in _of(rows, "trial") if r["story"] == name]
        built = sum(r["fidelity"] == "engine" for r in trials)
        plan = next((r for r in _of(rows, "plan") if r["story"] == name), {})
        ran = next((r for r in _of(rows, "ran") if r["story"] == name), {})
        held = ", ".join(f"{n} {p}" for p, n in plan.get("held", {}).items() if n)
        wall = row["wall"]
        lines.append(
            [
                name,
                str(built),
                f"{wall:.0f}",
                f"{row['in engines']:.0f}",
                f"{row['strategy'] / wall:.1%}",
                f"{held or 'FP32'} of {plan.get('groups', '-')}",
                str(ran.get("achieved", "")),
            ]
        )
    return _table(head, lines)


def layouts(rows: Sequence[Row]) -> str:
    """FP16 everywhere under other build options."""
    return _table(_HEAD, (_engine(r) for r in _of(rows, "layout")))


def peers(rows: Sequence[Row]) -> str:
    """The converter's cost, and its engine beside ours."""
    head = ("model", "provider", "sessions", "seconds", "last loss it saw", "done")
    cost = _table(
        head,
        (
            [
                r["story"],
                r["provider"],
                str(r.get("sessions", "-")),
                f"{r.get('seconds', 0.0):.0f}",
                str(_last_loss(r)),
                "yes" if r.get("done") else f"no: {' '.join(r['said'].split())[-100:]}",
            ]
            for r in _of(rows, "peer")
        ),
    )
    beside = _table(_HEAD, (_engine(r) for r in _of(rows, "beside")))
    return "\n\n".join(filter(None, (cost, beside)))


def _last_loss(row: Row) -> str:
    return f"{row['loss']:.1e}" if "loss" in row else "-"


def noise(rows: Sequence[Row]) -> str:
    """How far ten times of one engine lie apart."""
    lines = []
    for row in _of(rows, "noise"):
        values = row["ms"]
        middle = median(values)
        spread = 100 * (max(values) - min(values)) / middle
        graph = "graph" if row["graph"] == "true" else "launches"
        lines.append([row["story"], row["clock"], graph, f"{middle:.4f}", f"{spread:.2f} %"])
    return _table(("model", "clock", "run as", "ms", "spread"), lines)


def failures(rows: Sequence[Row]) -> str:
    """What did not run."""
    return "\n".join(f"{r['story']} failed: {r['error']}" for r in _of(rows, "failed"))


def main() -> None:
    rows = [
        json.loads(line) for path in sys.argv[1:] for line in Path(path).read_text().splitlines()
    ]
    print(tables(rows))


if __name__ == "__main__":
    main()
