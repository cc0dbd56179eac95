"""The ONNX Runtime backend on NVIDIA GPUs, through its CUDA provider."""
