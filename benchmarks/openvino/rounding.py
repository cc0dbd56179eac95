"""The proxy's BF16 error beside the engine's, group by kind and in random halves, as Markdown.

    python -m benchmarks.openvino.rounding FOLDER --model NAME …

Each model is ``FOLDER/NAME/{model.onnx,data.npz}``; the first samples are used. Errors are relative
L2 against FP32, of the worst output. Groups whose BF16 output is not finite are left out, as
screening does. Nothing is timed, so that the figures do not depend on what else a machine does.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.openvino.uniform import BF16, Case, error
from precsearch.core.space import Assignment
from precsearch.emulation.multiplexed import ProxyGraph
from precsearch.emulation.session import Proxy
from precsearch.lowering.context import LoweringContext

HALVES = 6


@dataclass
class Beside:
    """Errors of a model's proxy and of its engines."""

    case: Case
    ratios: dict[str, float] = field(default_factory=dict)
    """What is in BF16 → proxy's error divided by the engine's."""
    engine: float = 0.0
    """Error of the engine with all groups in BF16."""

    def __post_init__(self) -> None:
        target = self.case.target
        scales, form = self.case.scales, target.form
        self._graph = ProxyGraph(
            LoweringContext(target.graph, target.space, target.scheme, scales, form)
        )
        self._proxy = Proxy(self._graph.proxy, 1, 1, target.options.model_folder)
        self._plain = self._proxied(())
        self._fp32 = self.case.run(self.case.build(Assignment()))

    def _assigned(self, keys: Collection[str]) -> Assignment:
        return self.case.target.space.canonical(Assignment.of(dict.fromkeys(keys, BF16)))

    def _proxied(self, keys: Collection[str]) -> list[dict[str, np.ndarray]]:
        return self._proxy.run(self._graph.request(self._assigned(keys)), self.case.feeds)

    def compare(self) -> None:
        """Fill in the ratios."""
        groups = [g for g in self.case.target.space.groups if BF16 in g.choices]
        alone = {g.key: error(self._proxied((g.key,)), self._plain) for g in groups}
        kinds = {g.key: g.kind for g in groups if np.isfinite(alone[g.key])}
        for name, keys in self._sets(kinds):
            found = error(self.case.run(self.case.build(self._assigned(keys))), self._fp32)
            if found > 1e-6:  # nothing was rounded but what BF16 holds
                self.ratios[name] = error(self._proxied(keys), self._plain) / found
            if name == "all":
                self.engine = found

    def _sets(self, kinds: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
        yield "all", list(kinds)
        for kind in sorted(set(kinds.values())):
            yield kind, [key for key, of in kinds.items() if of == kind]
        chance = random.Random(0)
        for number in range(HALVES):
            yield f"half {number}", [key for key in kinds if chance.random() < 0.5]


def row(path: Path) -> str:
    """One line of the table."""
    found = Beside(Case(path))
    found.compare()
    whole = found.ratios.pop("all")
    halves = [r for name, r in found.ratios.items() if name.startswith("half ")]
    kinds = {name: r for name, r in found.ratios.items() if not name.startswith("half ")}
    far = sorted(kinds.items(), key=lambda item: abs(np.log(item[1])), reverse=True)[:2]
    worst = ", ".join(f"{name} {ratio:.2f}" for name, ratio in far)
    return (
        f"| {path.name} | {found.engine:.2g} | {whole:.2f} | {min(halves):.2f} to "
        f"{max(halves):.2f} | {worst} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", required=True)
    args = parser.parse_args()
    print("| model | BF16 engine | proxy / engine: all | random halves | kinds furthest off |")
    print("|---|---|---|---|---|")
    for name in args.model:
        print(row(args.folder / name), flush=True)


if __name__ == "__main__":
    main()
