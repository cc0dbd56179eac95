"""Plans for the points of a finished run's Pareto front, from what the run measured."""
