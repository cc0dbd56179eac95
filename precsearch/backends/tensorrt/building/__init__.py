"""From a lowered ONNX model to a serialized engine."""
