"""What three precisions in one engine gain over two, by complete enumeration.

    python -m benchmarks.landscapes.joint benchmarks/landscapes/openvino

For each recorded landscape and bound: the latency of the fastest engine within the bound of FP32
and BF16 alone, of FP32 and INT8 alone, and of all three. An engine is chosen by the first timing
and shown by the second, so that none gains from having been lucky.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

import numpy as np

from benchmarks.landscapes.replay import Landscape, load
from precsearch.core.precision import Precision

SHARES = (0.1, 0.2, 0.3, 0.5, 0.7)


def fastest(landscape: Landscape, share: float, used: Collection[Precision]) -> float:
    """Second latency of the fastest passing engine in these precisions, over FP32's."""
    passing = landscape.passing(landscape.problem(share, 0))
    ratios = np.full(len(landscape.rows), np.inf)
    for assignment, row in landscape.rows.items():
        if passing[row] and all(p in used for _, p in assignment.entries):
            ratios[row] = landscape.seen[row] if assignment.entries else 1.0
    return landscape.score(int(np.argmin(ratios)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    cast = (Precision.BF16, Precision.FP16)
    print("| model | bound | FP32 and BF16 | FP32 and INT8 | all three | gain over both |")
    print("|---|---|---|---|---|---|")
    for path in sorted(args.folder.glob("*.npz")):
        landscape = load(path)
        for share in SHARES:
            found = [
                fastest(landscape, share, used)
                for used in (cast, (Precision.INT8,), (*cast, Precision.INT8))
            ]
            gain = min(found[:2]) / found[2] - 1
            cells = " | ".join(f"{1 / ratio:.2f}x" for ratio in found)
            tolerance = landscape.tolerance(share)
            print(f"| {landscape.name} | {tolerance:.2g} | {cells} | {gain:+.1%} |")


if __name__ == "__main__":
    main()
