"""Which group each kernel of an engine belongs to, what it took and what it computed in."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence, Set
from typing import TypedDict

from precsearch.core.backend import Backend, Feed, KernelTime, TellsPrecisions
from precsearch.core.precision import Precision

__all__ = [
    "GroupSeconds",
    "achieved_precisions",
    "owner",
    "products_told",
    "profiled",
    "seconds_by_group",
]

_NOTHING: Mapping[str, Precision | None] = {}
"""Not to be changed, and no proxy: it is sent between processes."""

_PROFILE_RUNS = 3
_ADDED = re.compile(r"(_nchwc|_bias_dq|_q|_dq|//raw|//inner|//product|//bias|//half)$")


def owner(name: str, owners: Mapping[str, str]) -> str:
    """The group that a kernel belongs to, "" if its name says nothing.

    Engines name a fused kernel after one of its nodes or its output tensor, with a suffix.
    """
    name = name.removeprefix("fused ")
    for _ in range(6):
        if name in owners:
            return owners[name]
        shorter = _ADDED.sub("", name)
        name = shorter if shorter != name else name.rpartition("/")[0]
    return ""


def profiled(backend: Backend, artifact: bytes, feed: Feed) -> tuple[KernelTime, ...]:
    """Each kernel of an engine and its time.

    Raises:
        BuildError: The engine does not open.
        RunError: It failed.
    """
    session = backend.open(artifact, profiled=True)
    try:
        return session.profile(feed, _PROFILE_RUNS)
    finally:
        session.close()


class GroupSeconds(TypedDict):
    """The fields of `Measurement` about time: seconds per group key, "" for what no group owns."""

    group_seconds: dict[str, float]
    conversion_seconds: dict[str, float]


def seconds_by_group(
    kernels: Sequence[KernelTime], owners: Mapping[str, str], seconds: float
) -> GroupSeconds:
    """The time of each group, which sums up to the engine's, and the conversions in it.

    Profiling costs about the same for every kernel (2 to 3 microseconds on ONNX Runtime), which
    would make an engine of many small kernels look slower than it is: what the kernels take
    together beyond the latency is taken off in equal parts.

    Args:
        kernels: An engine's profile.
        owners: Node → its group.
        seconds: The engine's unprofiled latency.
    """
    excess = max(0.0, sum(k.seconds for k in kernels) - seconds) / max(1, len(kernels))
    totals: dict[str, float] = {}
    converting: dict[str, float] = {}
    for kernel in kernels:
        # Which part of a fused kernel's time is whose, nobody knows: groups get equal shares.
        keys = sorted({owner(node, owners) for node in kernel.nodes} or {""})
        for key in keys:
            share = max(kernel.seconds - excess, 0.0) / len(keys)
            totals[key] = totals.get(key, 0.0) + share
            if kernel.converts and share > 0:
                converting[key] = converting.get(key, 0.0) + share
    total = sum(totals.values())
    if not total > 0:
        return {"group_seconds": {}, "conversion_seconds": {}}
    scale = seconds / total
    return {
        "group_seconds": {key: s * scale for key, s in totals.items()},
        "conversion_seconds": {key: s * scale for key, s in converting.items()},
    }


def achieved_precisions(
    kernels: Sequence[KernelTime],
    asked: Mapping[str, Precision],
    owners: Mapping[str, str],
    unlisted: Precision | None = Precision.FP32,
    told: Mapping[str, Precision | None] = _NOTHING,
) -> dict[str, Precision]:
    """What each lowered group ran in: the precision of its most precise node.

    And what a group in FP32 ran in, where the engine tells that a product of it ran in less.

    Args:
        kernels: An engine's profile.
        asked: Node → the precision that it was lowered to.
        owners: Node → its group.
        unlisted: Precision of a node that no kernel names. ONNX Runtime names every node that it
            computes below FP32. TensorRT does not name the nodes that it fused into a region, so
            their precision is unknown (``None``).
        told: What the backend says of products, see `products_told`; it stands before the profile,
            in which several kernels may carry the name of one product.

    Returns:
        Group → precision. A group with a node whose precision is unknown is left out, unless
        another of its nodes ran in FP32. Empty without kernels.
    """
    if not kernels:
        return {}
    ran = {node: k.precision for k in kernels for node in k.nodes} | dict(told)
    achieved: dict[str, Precision] = {}
    unknown: set[str] = set()
    for node in asked:
        key, precision = owners[node], ran.get(node, unlisted)
        if precision is None:
            unknown.add(key)
        else:
            achieved[key] = min(achieved.get(key, precision), precision, key=lambda p: p.rank)
    known = {key: p for key, p in achieved.items() if key not in unknown or p is Precision.FP32}
    return {**_demoted(told, {owners[node] for node in asked}, owners), **known}


def _demoted(
    told: Mapping[str, Precision | None], lowered: Set[str], owners: Mapping[str, str]
) -> dict[str, Precision]:
    """The groups in FP32 with a product in less → the least precise one's precision."""
    found: dict[str, Precision] = {}
    for node, ran in told.items():
        key = owners.get(node, "")
        if key and key not in lowered and ran not in (None, Precision.FP32):
            found[key] = max(found.get(key, ran), ran, key=lambda p: p.rank)
    return found


def products_told(
    backend: Backend, artifact: bytes, products: Collection[str]
) -> Mapping[str, Precision | None]:
    """What each product of an engine ran in, where the backend tells; otherwise nothing.

    Raises:
        BuildError: The engine does not open, or its layers cannot be read.
    """
    if not isinstance(backend, TellsPrecisions):
        return _NOTHING
    return backend.precisions_of(artifact, products)
