"""What `inspect` found, for programs."""

from __future__ import annotations

from precsearch.api import Inspection

__all__ = ["inspect_fields"]


def inspect_fields(found: Inspection) -> dict[str, object]:
    """As one JSON object, of type ``Inspection``."""
    counted = found.counted
    return {
        "type": "Inspection",
        "model": found.model,
        "sha256": found.sha256,
        "opset": found.opset,
        "nodes": found.nodes,
        "weights_bytes": found.weights_bytes,
        "inputs": list(found.inputs),
        "outputs": list(found.outputs),
        "granularity": found.space.granularity,
        "groups": _groups(found),
        "work": {
            "macs": counted.total.macs,
            "decidable": counted.decidable.macs,
            "exact": counted.total.exact,
        },
        "fp32": _fp32(found),
        "undecided": [
            {"node": u.node, "op_type": u.op_type, "macs": u.work.macs, "reason": u.reason}
            for u in counted.undecided
        ],
        "hidden": [
            {"node": h.node, "op_type": h.op_type, "layers": dict(h.layers)} for h in counted.hidden
        ],
        "hazards": [
            {"group": p.key, "precision": p.precision.value, "reason": p.reason}
            for p in found.hazards
        ],
        "samples": found.samples,
    }


def _groups(found: Inspection) -> list[dict[str, object]]:
    seconds = {} if found.fp32 is None else found.fp32.groups
    return [
        {
            "key": g.key,
            "kind": g.kind,
            "nodes": len(g.nodes),
            "choices": [c.value for c in g.choices],
            "macs": g.macs,
            "macs_exact": g.key not in found.counted.open_groups,
            "block": g.block,
            "fp32_seconds": None if found.fp32 is None else seconds.get(g.key, 0.0),
        }
        for g in found.space.groups
    ]


def _fp32(found: Inspection) -> dict[str, object] | None:
    fp32, share = found.fp32, found.decidable_time
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
