"""The Polygraphy script that does what its options cannot; it runs without precsearch."""

from __future__ import annotations

from collections.abc import Sequence

from precsearch.backends.tensorrt.layer_precisions import Pin

__all__ = ["postprocess_script"]

_CONFIG = '''"""What Polygraphy has no option for, of the precsearch plan
@PLAN@.
"""


def postprocess_config(builder, network, config):
    """For --trt-config-postprocess-script."""
    config.avg_timing_iterations = @ITERATIONS@
'''

_NETWORK = r'''

import re

import tensorrt as trt

# What each ONNX node computes in ("" is left to the builder), and the tensors that it writes, whose
# names TensorRT's parser keeps.
NODES = {
@ROWS@
}
WRITER = {tensor: node for node, (_, tensors) in NODES.items() for tensor in tensors}

# Layers that take no precision, or whose build fails with one.
NEVER = """
CONSTANT SHAPE CAST IDENTITY QUANTIZE DEQUANTIZE TRIP_LIMIT RECURRENCE ITERATOR LOOP_OUTPUT
CONDITION CONDITIONAL_INPUT CONDITIONAL_OUTPUT PLUGIN PLUGIN_V2 PLUGIN_V3 ASSERTION NMS NON_ZERO
""".split()


def outputs(layer):
    found = (layer.get_output(i) for i in range(layer.num_outputs))
    return [tensor for tensor in found if tensor is not None]


def settable(layer):
    return layer.type.name not in NEVER and all(
        t.is_execution_tensor and t.dtype in (trt.float32, trt.float16) for t in outputs(layer)
    )


def told(layer):
    """The node that a layer names itself, in its metadata or as its own name; "" if none."""
    named = re.findall(r"\[ONNX Layer: (.*?)(?: \| [^\[\]]*)?\]", layer.metadata)
    return next((name for name in [*named, layer.name] if name in NODES), "")


def owners(network):
    """Each layer with its node: the one that writes its output, or that the next layers lead to."""
    found, pending = [], []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        written = [WRITER[t.name] for t in outputs(layer) if t.name in WRITER]
        if written:
            found += [(other, written[0]) for other in pending]
            pending = []
        node = written[0] if written else told(layer)
        if node:
            found.append((layer, node))
        else:
            pending.append(layer)
    return found


def postprocess(network):
    """For --trt-network-postprocess-script, with --precision-constraints obey."""
    if not hasattr(trt.ILayer, "precision"):
        raise RuntimeError(
            f"TensorRT {trt.__version__} has strongly typed networks alone, in which a layer has "
            "no precision of its own; make the plan with this version"
        )
    types = {"fp32": trt.float32, "fp16": trt.float16}
    found = owners(network)
    if not found:
        raise RuntimeError("this network is not the plan's model: it has none of its nodes")
    count = 0
    for layer, node in found:
        wanted = types.get(NODES[node][0])
        if wanted is None or not settable(layer):
            continue
        layer.precision = wanted
        for index in range(layer.num_outputs):
            tensor = layer.get_output(index)
            if tensor is not None and not tensor.is_network_output:
                layer.set_output_type(index, wanted)
        count += 1
    print(f"precsearch: {count} of {network.num_layers} layers have a precision of their own")
'''


def postprocess_script(plan: str, iterations: int, pinned: Sequence[Pin] | None) -> str:
    """A Python file with what Polygraphy calls by name on a network and on a configuration.

    Args:
        plan: The plan's digest.
        iterations: How often the builder times a kernel.
        pinned: Of a weak plan, every node of the model.
    """
    config = _CONFIG.replace("@PLAN@", plan).replace("@ITERATIONS@", str(iterations))
    if pinned is None:
        return config
    rows = []
    for pin in pinned:
        asked = "" if pin.precision is None else str(pin.precision)
        rows.append(f"    {pin.node!a}: ({asked!a}, {list(pin.outputs)!a}),")
    return config + _NETWORK.replace("@ROWS@", "\n".join(rows))
