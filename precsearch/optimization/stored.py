"""What runs of one command share beside their measurements: ranges, statistics and corrections.

They follow from the model, its data and the calibration alone. Corrections are judged by a metric
and within a time, so a second run might keep others; its engines would then not be those whose
measurements it takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from precsearch.setup.files import write_bytes
from precsearch.system.regular_file import read_regular

__all__ = ["take_over"]

_NAMES = ("ranges-*.json", "screen-*.json", "corrections-*.json")
_MAX_BYTES = 1 << 28


def take_over(run_dir: Path, sources: Sequence[Path]) -> None:
    """Copy what earlier runs have stored; what this run has stays, and what cannot be read, too.

    The names say what the content follows from, so a file of another model or other data is never
    looked at.

    Args:
        run_dir: Of this run.
        sources: Run directories of earlier runs, the most important first; others are passed over.

    Raises:
        OutputError: The run directory cannot be written.
    """
    for source in filter(Path.is_dir, sources):
        for path in sorted(p for name in _NAMES for p in source.glob(name)):
            target = run_dir / path.name
            if target.exists():
                continue
            try:
                data = read_regular(path, _MAX_BYTES, follow=False)
            except OSError:
                continue
            write_bytes(target, data, follow=False)
