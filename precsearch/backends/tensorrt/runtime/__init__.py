"""Engines of TensorRT as they are run: buffers, CUDA, outputs that grow."""
