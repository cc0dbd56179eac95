"""Rows of a long run, kept in a file, and the table of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.typed.builds import Outcome

_BEGUN = "begun"
_TRIES = 2


class State:
    """Rows by name, kept in a file of JSON lines.

    Args:
        path: The file; it need not exist.
        seconds: After so many no further row is begun.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path = path
        self.until = time.monotonic() + seconds
        self.rows: dict[str, dict[str, Any]] = {}
        self._begun: Counter[str] = Counter()
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            self._begun[row["name"]] += row["stage"] == _BEGUN
            self.rows[row["name"]] = row

    def run(self, name: str, make: Callable[[], Outcome]) -> bool:
        """Fill a row if it is missing; false when the time is over."""
        known = self.rows.get(name)
        if known is not None and (known["stage"] != _BEGUN or self._begun[name] >= _TRIES):
            return True
        if time.monotonic() > self.until:
            return False
        self._begun[name] += 1
        self._write({"name": name, "stage": _BEGUN})
        self._write({"name": name, **asdict(make())})
        return True

    def _write(self, row: dict[str, Any]) -> None:
        self.rows[row["name"]] = row
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each model: how many were built, what ran otherwise, seconds.

    Args:
        rows: By name, which begins with that of the model.
    """
    lines = [
        "| model | typed models | refused in words | parsed | built | products | run as asked | "
        "not as asked, said | not told | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    models = dict.fromkeys(name.partition(" | ")[0] for name in rows)
    said: Counter[str] = Counter()
    for model in models:
        mine = [r for n, r in rows.items() if n.partition(" | ")[0] == model]
        lines.append(f"| {model} | {' | '.join(map(str, _cells(mine)))} |")
        said.update(line for r in mine if r["stage"] == "built" for line in r["other"])
        said.update(r.get("message") or "crash" for r in mine if r["stage"] != "built")
    every = _cells(list(rows.values()))
    lines.append(f"| **all** | {' | '.join(map(str, every))} |")
    lines += ["", *(f"- {count} x {line}" for line, count in said.most_common())]
    return "\n".join(lines) + "\n"


def _cells(mine: list[Mapping[str, Any]]) -> list[int]:
    built = [r for r in mine if r["stage"] == "built"]
    parsed = sum(r["stage"] in ("built", "build") for r in mine)
    refused = sum(r["stage"] == "refused" for r in mine)
    other = sum(len(r["other"]) for r in built)
    silent, products = (sum(r[key] for r in built) for key in ("silent", "products"))
    as_asked = products - silent - other
    seconds = round(sum(r["seconds"] for r in built))
    wanted = len(mine) - refused
    return [wanted, refused, parsed, len(built), products, as_asked, other, silent, seconds]
