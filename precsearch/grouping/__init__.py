"""Groups of ONNX nodes that are decided together."""
