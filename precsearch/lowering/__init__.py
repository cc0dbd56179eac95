"""From an assignment to the ONNX model that a backend builds."""
