"""Inference engines, each reached by its name through `precsearch.registry`."""
