"""What a simulated TensorRT does with an ONNX model: a layer per node, and an engine of them.

Close to the real parser in what the backend relies on: tensors keep their ONNX names, a MatMul or
Gemm brings a helper layer without a name, Q/DQ and constants are layers of their own types.
"""

from __future__ import annotations

import json
from typing import Any

import onnx
from onnx.shape_inference import infer_shapes

from tests.backends.trt.stand_in.simulated import Simulated, simulated

KINDS = {
    "Conv": "CONVOLUTION",
    "MatMul": "MATRIX_MULTIPLY",
    "Gemm": "MATRIX_MULTIPLY",
    "Relu": "ACTIVATION",
    "Softmax": "SOFTMAX",
    "MaxPool": "POOLING",
    "GlobalAveragePool": "REDUCE",
    "Cast": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Reshape": "SHUFFLE",
    "Transpose": "SHUFFLE",
    "Flatten": "SHUFFLE",
    "Shape": "SHAPE",
}
TYPES = {1: "FLOAT", 10: "HALF", 3: "INT8", 6: "INT32", 7: "INT32", 9: "BOOL"}


def tensorrt(version: str) -> Simulated:
    """A simulated TensorRT that parses, builds and describes."""
    made = simulated(version)
    trt = made.module
    setattr(trt.IHostMemory, "__bytes__", lambda self: self.__dict__["_data"])  # noqa: B010
    made.behaviour.update(
        {
            "OnnxParser.__init__": lambda self, network, logger: self.__dict__.update(to=network),
            "OnnxParser.parse": lambda self, model, path=None: _parse(made, self.to, model),
            "INetworkDefinition.num_layers": lambda self: len(self.__dict__.get("layers", ())),
            "INetworkDefinition.get_layer": lambda self, index: self.layers[index],
            "INetworkDefinition.num_inputs": lambda self: len(self.inputs),
            "INetworkDefinition.get_input": lambda self, index: self.inputs[index],
            "ILayer.num_outputs": lambda self: len(self.tensors),
            "ILayer.get_output": lambda self, index: self.tensors[index],
            "Builder.build_serialized_network": lambda self, network, config: _built(made, network),
            "ITimingCache.serialize": lambda self: _memory(made, b"cache"),
        }
    )
    return made


def tensor(made: Simulated, name: str, kind: str, shape: tuple[int, ...], *, last: bool) -> Any:
    """An ITensor of a network."""
    found = made.make("ITensor")
    kinds = made.module.__dict__["DataType"]
    found.__dict__.update(
        _name=name,
        _dtype=kinds[kind] if kind in kinds.__members__ else kinds["INT32"],
        _shape=shape,
        _is_execution_tensor=True,
        _is_shape_tensor=False,
        _is_network_output=last,
    )
    return found


def _parse(made: Simulated, network: Any, data: bytes) -> bool:
    graph = infer_shapes(onnx.load_model_from_string(data)).graph
    values = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.output, *graph.input)}
    ends = {o.name for o in graph.output}
    network.__dict__["layers"] = []
    network.__dict__["inputs"] = [
        tensor(made, i.name, "FLOAT", _shape(values[i.name]), last=False) for i in graph.input
    ]
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            helper = tensor(made, f"{node.name}_helper", "FLOAT", (), last=False)
            _add(made, network, "SHUFFLE", "(Unnamed Layer* 3) [Shuffle]", "", [helper])
        written = [
            tensor(
                made,
                name,
                TYPES.get(values[name].elem_type if name in values else 1, "FLOAT"),
                _shape(values[name]) if name in values else (),
                last=name in ends,
            )
            for name in node.output
        ]
        kind = KINDS.get(node.op_type, "ELEMENTWISE")
        _add(made, network, kind, node.name, f"[ONNX Layer: {node.name}]", written)
    return True


def _shape(kind: onnx.TypeProto.Tensor) -> tuple[int, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)


def _add(
    made: Simulated, network: Any, kind: str, name: str, metadata: str, tensors: list[Any]
) -> None:
    layer = made.make("ILayer")
    types = made.module.__dict__["LayerType"]
    found = types[kind] if kind in types.__members__ else types["ELEMENTWISE"]
    layer.__dict__.update(_type=found, _name=name, _metadata=metadata, tensors=tensors)
    network.layers.append(layer)


def _memory(made: Simulated, data: bytes) -> Any:
    memory = made.make("IHostMemory")
    memory.__dict__["_data"] = data
    return memory


def _built(made: Simulated, network: Any) -> Any:
    rows = [
        {"Name": layer.name, "LayerType": layer.type.name, "Inputs": [], "Outputs": []}
        for layer in network.layers
    ]
    return _memory(made, json.dumps({"Layers": rows}).encode())


def precisions(network: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Tensor that a layer writes first → its precision and the types of its outputs, if set."""
    return {
        layer.tensors[0].name: (layer.__dict__["_precision"].name, layer.__dict__.get("typed", ()))
        for layer in network.layers
        if "_precision" in layer.__dict__
    }
