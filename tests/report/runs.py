"""One search for all tests of a report, on made-up times, and what a page holds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.e2e.command import MODEL, few_samples, run
from tests.e2e.plugins.clocked_backend import install

CHARTS = {
    "plane",
    "progress",
    "strip",
    "sensitivity",
    "spent",
    "times",
    "tradeoff",
    "map",
    "ranges",
}
VOID = {"meta", "link", "input", "br", "img"}


@dataclass(frozen=True)
class Run:
    """A finished search of the example model.

    Attributes:
        folder: Where the commands ran.
        run_dir, plan: What they left there.
    """

    folder: Path
    run_dir: Path = field(init=False)
    plan: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run_dir", self.folder / "digits.precsearch")
        object.__setattr__(self, "plan", self.folder / "digits.plan.json")


def searched(folder: Path, builds: int = 8) -> Run:
    """Search where INT8 is faster for certain, and judge by the same samples: some of it ships."""
    few_samples(folder / "few.npz", 64)
    done = run(
        *("optimize", MODEL, "--data", "few.npz", "--holdout", "few.npz", "--tol", "0.012"),
        *("--threads", "1"),
        *("--max-builds", str(builds), "-o", "digits.plan.json", "--backend", "clocked"),
        *("--run-dir", "digits.precsearch"),
        cwd=folder,
        env=install(folder),
    )
    assert done.returncode == 0, done.stderr
    return Run(folder)


class Html(HTMLParser):
    """A page taken apart; fails where an element is left open or closed twice.

    Attributes:
        words: Everything that is shown.
        json: Embedded data by id.
        charts: Names of the places for charts.
        links: Everything that a browser would fetch.
        tags: Names of all elements.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words = ""
        self.json: dict[str, Any] = {}
        self.charts: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self._ident = ""
        self._script = ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self._open.append(tag)
        self.links += [v for k in ("src", "href") if (v := known.get(k)) and v != "data:,"]
        if "data-chart" in known:
            self.charts.append(known["data-chart"] or "")
        if tag == "script":
            self._ident = known.get("id") or ""
            self._script = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "script" and self._ident:
            self.json[self._ident] = json.loads(self._script)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self._script += data
        elif not self._open or self._open[-1] != "style":
            self.words += data

    def filled(self, chart: str) -> dict[str, Any]:
        """A specification with its rows, as the page's script makes it."""
        spec: dict[str, Any] = json.loads(json.dumps(self.json[f"spec-{chart}"]))
        filled: dict[str, Any] = _filled(spec, self.json["rows"])
        return filled


def _filled(part: Any, rows: dict[str, Any]) -> Any:
    if isinstance(part, list):
        return [_filled(p, rows) for p in part]
    if not isinstance(part, dict):
        return part
    named = part.get("data")
    if isinstance(named, dict) and "name" in named:
        part = {**part, "data": {"values": rows[named["name"]]}}
    return {k: v if k == "data" else _filled(v, rows) for k, v in part.items()}
