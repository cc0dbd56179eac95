"""Inference engines. Each is reached by its name through `precsearch.registry`; none knows another."""
