"""The constants of a proxy: a model's weights as FP16 and INT8 store them, in FP32.

What is added to the model in FP32 is bounded. Beyond the bound, FP16's form of a weight is computed
at every run, by a cast pair, and INT8's form is kept in a byte a value and dequantized at every run
(context there, per channel, made an all-INT8 pass 9 times slower).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from precsearch.core.formats import FLOAT16, NumberFormat
from precsearch.core.precision import Precision
from precsearch.core.quantization import TensorFormat
from precsearch.emulation.round_nodes import cast_pair
from precsearch.graph.encode import coded, rounded
from precsearch.graph.view import NodeView
from precsearch.lowering.context import LoweringContext
from precsearch.lowering.qdq.reach import reads_fine_scale
from precsearch.lowering.qdq.scales import QuantParams
from precsearch.lowering.qdq.weights import quantize_weight, scale_floor, weight_axis
from precsearch.lowering.tensor_names import float_name, scale_key
from precsearch.lowering.weight_only import packed_stem, packed_weight, unpacked

__all__ = ["ProxyWeights"]

Array = npt.NDArray[np.generic]


class ProxyWeights:
    """Makes the rounded and quantized forms of weights, each once.

    Args:
        context: The model and how its weights are quantized.
        params: Nominal scale by `scale_key` of an activation, which bounds the weight scales of a
            Conv with a bias.
        budget: Bytes that may be added.

    Attributes:
        added: Serialized constants by name.
        added_bytes: Their size.
        complete: All that was asked for became a constant.
    """

    def __init__(
        self,
        context: LoweringContext,
        params: Mapping[str, QuantParams],
        budget: int,
    ) -> None:
        self.graph = context.graph
        self.scheme = context.scheme
        self.added: dict[str, bytes] = {}
        self.added_bytes = 0
        self.complete = True
        self._params = params
        self._around = context.around
        self._budget = budget

    def rounded(self, name: str, stored_as: NumberFormat, nodes: list[onnx.NodeProto]) -> str:
        """The weight as a format holds it; ``nodes`` gets what computes it if it is no constant."""
        output = float_name(f"{name}//rounded", stored_as)
        if output in self.added:
            return output
        weight = self.graph.weights[name]
        if not self._fits(weight.size):
            local = f"{output}//{len(nodes)}"
            nodes += cast_pair(name, local, stored_as)
            return local
        self._add(output, rounded(weight.load(), stored_as))
        return output

    def quantized(self, node: NodeView, precision: Precision, nodes: list[onnx.NodeProto]) -> str:
        """The weight of an INT8 or FP8 node as its kernel knows it."""
        name = node.inputs[1]
        weight = self.graph.weights[name]
        axis = weight_axis(node, self.graph)
        given = self._params.get(scale_key(node.inputs[0], precision))
        kept = self.scheme.weight(node.op_type, precision)
        floor = None if given is None else scale_floor(self.graph, node, given.scale, kept)
        alone = "" if floor is None else f"//{node.key}"
        fine = self.fine(node, precision)
        alone += "//fine" if fine else ""
        output = f"{name}//{precision}//{'' if axis is None else axis}{alone}"
        if output in self.added:
            return output
        values = np.asarray(weight.load(), dtype=np.float32)
        half = self._around(precision) == FLOAT16 and not fine
        q, scale = quantize_weight(values, axis, stored_as=kept, half=half, floor=floor)
        if self._fits(weight.size):
            shape = [-1 if i == axis else 1 for i in range(values.ndim)]
            wide = q.astype(np.float32) * (scale if axis is None else scale.reshape(shape))
            self._add(output, wide.astype(np.float16).astype(np.float32) if half else wide)
            return output
        if f"{output}//i8" not in self.added:
            self._keep(coded(f"{output}//i8", q, kept.format), q.size * kept.format.bits // 8)
            self._add(f"{output}//scale", scale)
        return self._computed(output, axis, nodes, half=half)

    def packed(self, node: NodeView, around: NumberFormat, stored_as: TensorFormat) -> str:
        """The weight of a node in blocks, dequantized: a constant, however many there are."""
        name = node.inputs[1]
        output = f"{packed_stem(name, stored_as, around)}//wide"
        if output not in self.added:
            self._fits(self.graph.weights[name].size)
            packed = packed_weight(node, self.graph, around, stored_as)
            self._add(output, unpacked(node, packed, around))
        return output

    def fine(self, node: NodeView, precision: Precision) -> bool:
        """Whether a product computes in FP32 what is not quantized, see `reads_fine_scale`."""
        return reads_fine_scale(node, self.graph, self._params, precision)

    def _computed(
        self, output: str, axis: int | None, nodes: list[onnx.NodeProto], *, half: bool
    ) -> str:
        local = f"{output}//{len(nodes)}"
        args = [f"{output}//i8", f"{output}//scale"]
        node = helper.make_node("DequantizeLinear", args, [local], local)
        if axis is not None:
            node.attribute.append(helper.make_attribute("axis", axis))
        nodes.append(node)
        if not half:
            return local
        nodes += cast_pair(local, f"{local}//r", FLOAT16)
        return f"{local}//r"

    def _fits(self, elements: int) -> bool:
        fits = self.added_bytes + 4 * elements <= self._budget
        self.complete &= fits
        return fits

    def _add(self, name: str, array: Array) -> None:
        proto = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self._keep(proto, array.nbytes)

    def _keep(self, proto: onnx.TensorProto, size: int) -> None:
        self.added[proto.name] = proto.SerializeToString(deterministic=True)
        self.added_bytes += size
