"""What `inspect` found, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from precsearch.api import Inspection

__all__ = ["inspect_fields"]


def inspect_fields(inspection: Inspection) -> dict[str, object]:
    """As one JSON object, of type ``Inspection``."""
    counted = inspection.counted
    return {
        "type": "Inspection",
        "model": inspection.model,
        "sha256": inspection.sha256,
        "opset": inspection.opset,
        "nodes": inspection.nodes,
        "weights_bytes": inspection.weights_bytes,
        "inputs": list(inspection.inputs),
        "outputs": list(inspection.outputs),
        "granularity": inspection.space.granularity,
        "groups": _groups(inspection),
        "work": {
            "macs": counted.total.macs,
            "decidable": counted.decidable.macs,
            "exact": counted.total.exact,
        },
        "fp32": _fp32(inspection),
        "undecided": [
            {"node": u.node, "op_type": u.op_type, "macs": u.work.macs, "reason": u.reason}
            for u in counted.undecided
        ],
        "hidden": [
            {"node": h.node, "op_type": h.op_type, "layers": dict(h.layers)} for h in counted.hidden
        ],
        "hazards": [
            {"group": p.key, "precision": p.precision.value, "reason": p.reason}
            for p in inspection.hazards
        ],
        "products": inspection.products,
        "kept": inspection.kept,
        "samples": inspection.samples,
        "judged": [p.value for p in inspection.judged],
    }


def _groups(inspection: Inspection) -> list[dict[str, object]]:
    seconds = {} if inspection.fp32 is None else inspection.fp32.groups
    return [
        {
            "key": g.key,
            "kind": g.kind,
            "nodes": len(g.nodes),
            "choices": [c.value for c in g.choices],
            "macs": g.macs,
            "macs_exact": g.key not in inspection.counted.open_groups,
            "block": g.block,
            "fp32_seconds": None if inspection.fp32 is None else seconds.get(g.key, 0.0),
        }
        for g in inspection.space.groups
    ]


def _fp32(inspection: Inspection) -> dict[str, object] | None:
    fp32, share = inspection.fp32, inspection.decidable_time
    if fp32 is None or share is None:
        return None
    mean, low, high = share
    return {
        "seconds": fp32.latency.seconds,
        "samples": fp32.samples,
        "decidable": mean,
        "decidable_low": low,
        "decidable_high": high,
        "profiles": len(fp32.profiles),
        "noise": fp32.noise,
        "device": fp32.device,
        "run": fp32.source,
        "unsure": list(fp32.latency.unsure),
    }
