"""Measures engines, beside the device."""
