"""Scripts that build a plan's engine without precsearch."""
