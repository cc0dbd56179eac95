"""A backend of a plug-in with a precision of its own: 12 bits, which ONNX has no type for.

The engine is the FP32 model with every tensor rounded that a node in FP12 writes. Its times are
made up: the more nodes in FP12, the faster.
"""

from __future__ import annotations

from dataclasses import replace

import onnx

from precsearch.backends.onnxruntime.backend import OnnxRuntimeBackend
from precsearch.core.backend import Array, Feed, GraphForm, KernelTime, Session
from precsearch.core.formats import NumberFormat
from precsearch.core.precision import Encoding, Precision, PrecisionSpec
from precsearch.emulation.round_nodes import rounding
from precsearch.lowering.engines.annotate import Annotation
from precsearch.system.disturbance import NoWatch

FORMAT = NumberFormat("float12", 0, 12, 7, (2 - 2.0**-6) * 2.0**15, 2.0**-14, 2.0**-20, 1)
FP12 = PrecisionSpec(2.5, Encoding.CAST, FORMAT, "#8a4b9e")
NAMED = GraphForm("named", 13, annotated=True)


class Session12:
    """See `precsearch.core.backend.Session`."""

    def __init__(self, session: Session, model: onnx.ModelProto) -> None:
        self._session = session
        named = frozenset(Annotation.of(model).asked.get(Precision("fp12"), ()))
        own = [n for n in model.graph.node if not n.name.endswith("//fp12")]
        self._ran = {n.name: Precision("fp12" if n.name in named else "fp32") for n in own}
        self._seconds = 1e-3 / (1 + 0.05 * len(named))

    def run(self, feed: Feed) -> dict[str, Array]:
        return self._session.run(feed)

    def time(self, feed: Feed, repeats: int) -> list[float]:
        return [self._seconds] * repeats

    def profile(self, feed: Feed, runs: int) -> tuple[KernelTime, ...]:
        return tuple(KernelTime((name,), "Kernel", 1e-5, p) for name, p in self._ran.items())

    def close(self) -> None:
        self._session.close()


class Backend12(OnnxRuntimeBackend):
    name, form = "fp12", NAMED
    precisions = frozenset({Precision.FP32, Precision("fp12")})
    facts = replace(OnnxRuntimeBackend.facts, offered=frozenset())

    def watch(self) -> NoWatch:  # type: ignore[override]
        return NoWatch()

    def build(self, model: bytes) -> bytes:
        proto = onnx.ModelProto.FromString(model)
        named = frozenset(Annotation.of(proto).asked.get(Precision("fp12"), ()))
        nodes = list(proto.graph.node)
        del proto.graph.node[:]
        for node in nodes:
            written = list(node.output) if node.name in named else []
            node.output[:] = [f"{t}//wide" if t in written else t for t in node.output]
            proto.graph.node.append(node)
            for tensor in written:
                for step in rounding(f"{tensor}//wide", tensor, FORMAT):
                    step.name = f"{step.name}//fp12"  # the node itself may be named so
                    proto.graph.node.append(step)
        return bytes(proto.SerializeToString())

    def open(self, artifact: bytes, *, profiled: bool = False) -> Session:  # type: ignore[override]
        return Session12(super().open(artifact), onnx.ModelProto.FromString(artifact))

    def form_named(self, name: str) -> GraphForm:
        return NAMED
