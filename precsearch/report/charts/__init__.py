"""The charts of a report: rows, specifications and theme."""
