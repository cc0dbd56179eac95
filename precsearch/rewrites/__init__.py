"""Graph rewrites that are exact in FP32, up to the order of rounding, and repair FP16 or an engine.

Whoever uses one verifies it first: it must give what the model gave, on the samples.
"""

from __future__ import annotations

from precsearch.rewrites.apply import REWRITES, Recorded, with_rewrites
from precsearch.rewrites.attention import merged_scales
from precsearch.rewrites.constants import clamped_constants
from precsearch.rewrites.norms import fused_norms, norm_exponents, scaled_norms
from precsearch.rewrites.registry import RULES, Requires, RewriteRule
from precsearch.rewrites.rewrite import NamedRewrite, Rewrite, rewritten

__all__ = [
    "REWRITES",
    "RULES",
    "NamedRewrite",
    "Recorded",
    "Requires",
    "Rewrite",
    "RewriteRule",
    "clamped_constants",
    "fused_norms",
    "merged_scales",
    "norm_exponents",
    "rewritten",
    "scaled_norms",
    "with_rewrites",
]
