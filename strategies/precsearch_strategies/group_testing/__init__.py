"""Finds the few groups that break the bound."""
