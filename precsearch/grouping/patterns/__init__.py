"""Patterns of operators that engines fuse."""
