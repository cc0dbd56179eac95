"""Makes backends and strategies of the tests known, as any installed plug-in is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["make_known"]

_NONE: Mapping[str, str] = {}


def make_known(
    folder: Path,
    name: str,
    backends: Mapping[str, str],
    strategies: Mapping[str, str] = _NONE,
    precisions: Mapping[str, str] = _NONE,
) -> None:
    """Give a Python that has ``folder`` on its path a distribution with these entry points.

    Args:
        folder: Where the distribution's metadata is written.
        name: Of the distribution.
        backends: Name → ``module:Class``.
        strategies: The same.
        precisions: Label → ``module:SPEC``.
    """
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = ["[precsearch.backends]", *(f"{k} = {v}" for k, v in backends.items())]
    lines += ["[precsearch.strategies]", *(f"{k} = {v}" for k, v in strategies.items())]
    lines += ["[precsearch.precisions]", *(f"{k} = {v}" for k, v in precisions.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
