"""From a lowered ONNX model to a serialised engine."""
