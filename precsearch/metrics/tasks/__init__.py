"""Metrics that see a task without labels: the engine's answer beside FP32's own answer."""
