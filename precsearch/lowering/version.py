"""The version of the lowering; a plan names the one that wrote its bytes."""

from __future__ import annotations

__all__ = ["LOWERING"]

LOWERING = 2
"""Raised whenever the bytes that the lowering writes change."""
