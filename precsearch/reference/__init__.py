"""The ONNX Runtime runner of the original model: reference outputs and calibration ranges."""
