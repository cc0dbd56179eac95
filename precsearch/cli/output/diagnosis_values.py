"""A diagnosis for programs: as JSON, and as a table of values."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from precsearch.cli.cells import clean

if TYPE_CHECKING:
    from pathlib import Path

    from precsearch.diagnosis.miscompilation import Checked
    from precsearch.diagnosis.result import Diagnosis, Layer

__all__ = ["csv_of", "engine_fields", "fields"]

_NAMES = frozenset({"tensor", "op_type", "node", "group", "kind", "block"})
"""Columns whose values a model chooses; the others hold numbers and words of ours."""
_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a formula begins with; East Asian spreadsheets take the wide forms as well."""


def _row(layer: Layer) -> dict[str, object]:
    """One layer, flat; numbers that JSON has not are words."""
    alike = {k: _number(v) for k, v in asdict(layer.likeness).items()}
    return {
        "tensor": layer.tensor,
        "op_type": layer.op_type,
        "node": layer.node,
        "group": layer.group,
        "kind": layer.kind,
        "block": layer.block,
        "precision": layer.precision.value,
        "achieved": layer.achieved.value if layer.achieved is not None else None,
        "shape": list(layer.shape),
        **alike,
        "before": _number(layer.before),
        "jump": layer.jump,
        "alone": None if layer.alone is None else _number(layer.alone),
    }


def _number(value: float) -> float | int | str:
    return value if math.isfinite(value) else str(value)


def fields(diagnosis: Diagnosis) -> dict[str, object]:
    """A diagnosis for programs."""
    return {
        "event": "diagnosis",
        "model": diagnosis.model,
        "asked": diagnosis.asked,
        "how": diagnosis.how,
        "samples": diagnosis.samples,
        "random": diagnosis.random,
        "losses": {k: _number(v) for k, v in diagnosis.losses.items()},
        "resized": dict(diagnosis.resized),
        "layers": [_row(layer) for layer in diagnosis.layers],
        "constants": [
            {
                "tensor": c.tensor,
                "absmax": c.absmax,
                "readers": list(c.readers),
                "harmless": c.harmless,
            }
            for c in diagnosis.constants
        ],
        "suggestions": [
            {
                "name": s.name,
                "what": s.what,
                "sites": list(s.sites),
                "exact": s.exact,
                "fp32": _number(s.fp32),
                "before": _number(s.before),
                "after": _number(s.after),
                "rewrites": [{"name": name, "params": dict(params)} for name, params in s.rewrites],
            }
            for s in diagnosis.suggestions
        ],
        "notes": list(diagnosis.notes),
        "held_bytes": diagnosis.held_bytes,
    }


def csv_of(diagnosis: Diagnosis) -> str:
    """The layers in graph order, a line each."""
    out = io.StringIO()
    rows = [_row(layer) for layer in diagnosis.layers]
    writer = csv.DictWriter(out, list(rows[0]) if rows else ["tensor"], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _cell(column, value) for column, value in row.items()})
    return out.getvalue()


def _cell(column: str, value: object) -> object:
    """A value that no spreadsheet takes for a formula, and no terminal for a command.

    Names come from models. OWASP, "CSV Injection": a cell that begins with one of these characters
    is a formula to a spreadsheet; after an apostrophe it is text. Numbers stay as they are.
    """
    if isinstance(value, list):
        return "x".join(map(str, value))
    if not isinstance(value, str) or column not in _NAMES:
        return value
    shown = clean(value)
    return f"'{shown}" if {value[:1], shown.lstrip()[:1]} & _FORMULA else shown


def engine_fields(checked: Checked, folder: Path) -> dict[str, object]:
    """What came of checking an FP32 engine, for programs."""
    head: dict[str, object] = {
        "event": "engine",
        "model": checked.model,
        "backend": checked.backend,
        "right": checked.found is None,
        "random": checked.random,
    }
    if checked.found is None:
        return head
    miscompiled = checked.found
    return head | {
        "tensor": miscompiled.tensor,
        "node": miscompiled.node,
        "op_type": miscompiled.op_type,
        "difference": _number(miscompiled.difference),
        "builds": miscompiled.builds,
        "shrunk": miscompiled.shrunk,
        "not_built": miscompiled.not_built,
        "before": miscompiled.before,
        "nodes": list(miscompiled.nodes),
        "reproducer": str(folder),
    }
