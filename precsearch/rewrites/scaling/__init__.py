"""Channels scaled to like ranges: which may be, where, and by how much."""
