"""Factors that move between an operator and the next: where they may, and which make INT8 exact."""
