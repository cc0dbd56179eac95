"""The corrections of a run: found once for its data, stored in the run directory and reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path

from precsearch.lowering.qdq.scales import TensorRange
from precsearch.plan.evidence import CorrectionEvidence
from precsearch.rewrites import Recorded
from precsearch.setup.config import OptimizeConfig
from precsearch.setup.files import write_text
from precsearch.setup.inputs import Inputs
from precsearch.setup.target import Target
from precsearch.system.regular_file import read_regular

__all__ = [
    "Corrections",
    "corrections_path",
    "read_corrections",
    "stored_corrections",
    "write_corrections",
]

_MAX_BYTES = 1 << 28
_FORMAT = "3"


@dataclass(frozen=True)
class Corrections:
    """What was kept.

    Attributes:
        rewrites: Of the model, in order.
        ranges: Tensor → method and range; empty where all have the method of the run.
        shifts: Node → what its bias is shifted by, as `precsearch.codec.vectors` writes it.
        evidence: What each that was tried did to INT8's loss.
        dynamic: Nodes that round by the range of each inference.
    """

    rewrites: tuple[Recorded, ...] = ()
    ranges: Mapping[str, tuple[str, TensorRange]] = field(default_factory=dict)
    shifts: Mapping[str, str] = field(default_factory=dict)
    evidence: tuple[CorrectionEvidence, ...] = ()
    dynamic: tuple[str, ...] = ()


def corrections_path(config: OptimizeConfig, target: Target, inputs: Inputs) -> Path:
    """Where the corrections of a run are stored."""
    parts = (
        _FORMAT,
        target.digest,
        target.space.digest,
        target.scheme.name,
        inputs.parts.calibration.digest,
        inputs.parts.search.digest,
        (config.metrics or (inputs.metric.name,))[0],  # runs of one command have the same
        config.calibration_method,
        *config.corrections,
    )
    key = hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
    return config.run_path / f"corrections-{key}.json"


def write_corrections(path: Path, corrections: Corrections) -> None:
    """Store corrections.

    Raises:
        OutputError: The file cannot be written.
    """
    rows = {
        "rewrites": [[name, dict(params)] for name, params in corrections.rewrites],
        "ranges": {t: [m, r.low.hex(), r.high.hex()] for t, (m, r) in corrections.ranges.items()},
        "shifts": dict(corrections.shifts),
        "dynamic": list(corrections.dynamic),
        "evidence": [list(astuple(row)) for row in corrections.evidence],
    }
    write_text(path, json.dumps(rows, indent=0), follow=False)


def read_corrections(path: Path) -> Corrections | None:
    """The stored ones; ``None`` if there are none or they are damaged: they are found again."""
    try:
        rows = json.loads(read_regular(path, _MAX_BYTES, follow=False))
        return Corrections(
            tuple((str(name), dict(params)) for name, params in rows["rewrites"]),
            {
                t: (str(m), TensorRange(float.fromhex(low), float.fromhex(high)))
                for t, (m, low, high) in rows["ranges"].items()
            },
            {str(node): str(shift) for node, shift in rows["shifts"].items()},
            tuple(
                CorrectionEvidence(str(name), bool(kept), float(before), float(after))
                for name, kept, before, after in rows["evidence"]
            ),
            tuple(map(str, rows["dynamic"])),
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def stored_corrections(run_dir: Path) -> tuple[Corrections, ...]:
    """All that a run directory has: a run that was started afresh there has left its own."""
    stored = (read_corrections(path) for path in sorted(run_dir.glob("corrections-*.json")))
    return tuple(one for one in stored if one is not None)
