"""Models of error and latency, fitted to the trials."""
