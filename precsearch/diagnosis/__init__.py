"""Tensors of an engine beside those of the FP32 reference."""
