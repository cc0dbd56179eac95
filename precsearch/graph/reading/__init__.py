"""Reads ONNX files as hostile input, and models exported in 16 bits in FP32."""
