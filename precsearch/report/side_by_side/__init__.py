"""Several runs or plans beside each other."""
