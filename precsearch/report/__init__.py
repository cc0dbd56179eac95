"""One self-contained page about a run, or about how two plans differ."""
