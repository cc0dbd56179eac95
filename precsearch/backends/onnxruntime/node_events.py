"""What ONNX Runtime's own profile tells of each node: its time, provider and types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from precsearch.core.errors import ResourceError
from precsearch.core.precision import Precision
from precsearch.graph.operators import QDQ

__all__ = ["CONVERSIONS", "NodeTime", "node_times", "read_profile"]

CONVERSIONS = frozenset(
    {
        *("Cast", *QDQ, "DynamicQuantizeLinear"),
        *("ReorderInput", "ReorderOutput", "MemcpyToHost", "MemcpyFromHost"),
    }
)
"""Operators that only change the type, the memory layout or the place of a tensor."""
_KERNEL_EVENT = "_kernel_time"
_FLOATS = {"float": Precision.FP32, "bfloat16": Precision.BF16, "float16": Precision.FP16}


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of the optimized graph.

    Attributes:
        name: As the optimized graph calls it.
        op_type: Its operator.
        provider: What ran it, such as ``CUDAExecutionProvider``.
        seconds: Median over the runs, the first of which is cold and does not count.
        outputs: Element types that it wrote, such as ``float16``; empty if the profile has none.
    """

    name: str
    op_type: str
    provider: str
    seconds: float
    outputs: tuple[str, ...] = ()

    @property
    def float_precision(self) -> Precision | None:
        """The most precise float format that it wrote; ``None`` if it wrote no float."""
        floats = Precision.ordered(_FLOATS[t] for t in self.outputs if t in _FLOATS)
        return floats[0] if floats else None


def read_profile(path: Path) -> list[dict[str, Any]]:
    """The events of a profile, which is removed.

    Raises:
        ResourceError: ONNX Runtime could not write it, which it does not say.
    """
    try:
        events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"no profile can be written to the temporary folder {str(path.parent)!r}: free "
            "some room there, or name another one (TMPDIR)"
        ) from error
    finally:
        path.unlink(missing_ok=True)
    return events


def node_times(events: Iterable[Mapping[str, Any]]) -> tuple[NodeTime, ...]:
    """Each node that ran, in the order of its first run."""
    times: dict[str, tuple[NodeTime, list[float]]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith(_KERNEL_EVENT):
            continue
        args = event.get("args", {})
        node = NodeTime(
            name.removesuffix(_KERNEL_EVENT),
            str(args.get("op_name", "")),
            str(args.get("provider", "")),
            0.0,
            _types(args.get("output_type_shape", ())),
        )
        key = f"{args.get('node_index', '')} {node.name}"
        times.setdefault(key, (node, []))[1].append(float(event["dur"]) * 1e-6)
    return tuple(
        NodeTime(n.name, n.op_type, n.provider, median(s[1:] or s), n.outputs)
        for n, s in times.values()
    )


def _types(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(kind for row in rows for kind in row)
