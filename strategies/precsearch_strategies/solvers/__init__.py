"""Exact and approximate solvers of the assignment problem."""
