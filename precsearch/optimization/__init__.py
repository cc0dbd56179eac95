"""A run of `optimize`, from its options to the plan."""
