"""Writes committed plans of an older schema in the present one.

What they say stays; their digest is a new one, since it now covers what `verify` judges by, too.

Usage: ``python -m benchmarks.upgraded_plans examples/replay/digits.plan.json``
"""

from __future__ import annotations

import sys
from pathlib import Path

from precsearch.plan.plan import read_plan


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        plan = read_plan(path)
        path.write_text(plan.to_json(), encoding="utf-8")
        print(f"{name}: {plan.digest}")


if __name__ == "__main__":
    main()
