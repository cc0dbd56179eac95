"""Builds and verifies what a plan says."""
