"""TensorRT 8.6 to 11: FP32, FP16 and INT8 with real engines on an NVIDIA GPU."""
