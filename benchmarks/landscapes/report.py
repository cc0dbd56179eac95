"""The table and the plot of `docs/benchmarks/search.md`: strategies on the recorded landscapes.

python -m benchmarks.landscapes.report benchmarks/landscapes --plot docs/benchmarks/search.svg
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.landscapes.replay import Landscape, Replay, load, replay
from benchmarks.landscapes.rivals import Greedy, Random
from precsearch.core.strategy import Strategy
from precsearch_strategies import Auto, Bisection, Tpe

STRATEGIES: dict[str, Strategy] = {
    "auto": Auto(),
    "TPE": Tpe(screen=False, builds=40),
    "bisection": Bisection(),
    "greedy": Greedy(),
    "random": Random(),
}
BUILDS = 40
SEEDS = {"TPE": 5, "bisection": 1, "greedy": 1}  # the last two do not depend on it
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#8d6a9f", "#999999")


def curves(landscape: Landscape, share: float, strategy: Strategy, seeds: int) -> list[Replay]:
    return [replay(landscape, strategy, landscape.problem(share, s, BUILDS)) for s in range(seeds)]


def row(landscape: Landscape, share: float, found: dict[str, list[Replay]]) -> str:
    """One line of the table: engines to within 2 %, or the gap where that is never reached."""
    cells = [_cell(rows) for rows in found.values()]
    auto = found["auto"]
    engines = statistics.mean(len(r.curve) for r in auto)
    proxies = statistics.mean(r.proxies for r in auto)
    problem = landscape.problem(share, 0)
    passing = int(landscape.passing(problem).sum())
    return (
        f"| {landscape.name} | {passing} of {len(landscape.rows)} "
        f"| {landscape.optimum(problem):.3f} "
        f"| {' | '.join(cells)} | {engines:.1f} | {proxies:.0f} |"
    )


def _cell(found: Sequence[Replay]) -> str:
    needed = [r.builds_to() for r in found]
    reached = sum(math.isfinite(b) for b in needed)
    middle = statistics.median(needed)
    end = max(r.curve[-1] for r in found) - 1
    tail = f"worst end +{end:.1%}" if reached < len(needed) else f"worst {max(needed):g}"
    return f"{'-' if math.isinf(middle) else f'{middle:g}'} ({tail}; {reached}/{len(needed)})"


def plot(path: Path, every: dict[str, list[Replay]]) -> None:
    """Mean of the best so far over the optimum, against engines, as SVG."""
    wide, high, left, top = 640, 360, 60, 20
    most = 0.30

    def at(x: float, y: float) -> str:
        return f"{left + (x - 1) / 24 * wide:.1f},{top + high * (1 - min(y, most) / most):.1f}"

    lines: list[str] = []
    for (name, found), colour in zip(every.items(), COLOURS, strict=True):
        mean = [
            statistics.mean(r.curve[min(i, len(r.curve) - 1)] - 1 for r in found) for i in range(25)
        ]
        points = " ".join(at(i + 1, v) for i, v in enumerate(mean))
        y = 40 + 18 * len(lines) / 2
        lines.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'
        )
        lines.append(f'<text x="{left + wide - 90}" y="{y}" fill="{colour}">{name}</text>')
    ticks = [
        f'<text x="4" y="{top + high * (1 - g / most) + 4}">+{g:.0%}</text>'
        f'<line x1="{left}" x2="{left + wide}" y1="{top + high * (1 - g / most)}" '
        f'y2="{top + high * (1 - g / most)}" stroke="#ddd"/>'
        for g in (0.0, 0.02, 0.1, 0.2, 0.3)
    ]
    ticks += [
        f'<text x="{left + (b - 1) / 24 * wide - 6}" y="{top + high + 18}">{b}</text>'
        for b in (1, 5, 10, 15, 20, 25)
    ]
    body = "\n".join([*ticks, *lines])
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 20} '
        f'{top + high + 40}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n'
        f'<text x="{left + 200}" y="{top + high + 36}">engines built</text>\n</svg>\n'
    )


def main() -> None:
    """Replay all and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.3, 0.6])
    parser.add_argument("--strategies", nargs="*", choices=list(STRATEGIES), default=[*STRATEGIES])
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    compared = {n: STRATEGIES[n] for n in dict.fromkeys(["auto", *args.strategies])}
    names = " | ".join(compared)
    print(f"| landscape | pass | optimum | {names} | engines in all (auto) | proxies (auto) |")
    print("|" + "---|" * (5 + len(compared)))
    every: dict[str, list[Replay]] = {name: [] for name in compared}
    for path in sorted(args.folder.glob("*.npz")):
        landscape = load(path)
        for share in args.shares:
            found = {
                n: curves(
                    landscape, share, STRATEGIES[n], min(args.seeds, SEEDS.get(n, args.seeds))
                )
                for n in args.strategies
            }
            for name, rows in found.items():
                every[name] += rows
            print(row(landscape, share, found), flush=True)
    needed = [r.builds_to() for r in every["auto"]]
    print(f"\nauto: median {statistics.median(needed):g}; within 15 engines "
          f"{sum(b <= 15 for b in needed)} of {len(needed)} searches")  # fmt: skip
    if args.plot:
        plot(args.plot, every)


if __name__ == "__main__":
    main()
