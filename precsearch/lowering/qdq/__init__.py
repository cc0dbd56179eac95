"""Q/DQ: where it stands, and with which scales."""
