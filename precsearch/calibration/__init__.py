"""Ranges of activations over sample data."""
