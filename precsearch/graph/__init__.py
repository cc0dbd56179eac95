"""ONNX graphs without precision: reading, preparing, folding, viewing, extracting, writing."""

from __future__ import annotations

from precsearch.system.deferred import deferred

# onnx_ir needs SymPy for arithmetic on symbolic dimensions alone, which precsearch does not do.
# Loading it takes 0.3 s of CPU time, in every process (docs/adr/0030).
with deferred("sympy", "onnx_ir._symbolic_shapes"):
    import onnx_ir as ir  # loaded here, before the modules of this folder need it

__all__ = ["ir"]
