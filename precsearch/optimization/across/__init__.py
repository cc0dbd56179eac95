"""One search over several engines: `racing` splits the budget, `run` ships the fastest."""
